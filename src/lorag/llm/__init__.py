"""Language models: where weights come from, how a prompt is rendered, and the engines that answer."""
