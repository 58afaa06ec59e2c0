"""Language models: how a prompt is rendered, how tokens are decoded, and the engines that answer."""
