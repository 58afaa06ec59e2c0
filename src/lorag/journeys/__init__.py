"""The jobs people come for, each readable in one file from the first line to the last."""
