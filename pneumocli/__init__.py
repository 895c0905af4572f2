"""Fine-tune, cross-validate, ensemble and use a ResNet-50 on PneumoniaMNIST chest X-rays."""

__version__ = "0.1.0"

DISCLAIMER = "Not for clinical use."
