"""The jobs people come for, each in one file that reads from the first line to the last."""
