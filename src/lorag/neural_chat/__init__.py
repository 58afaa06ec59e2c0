"""NeuralChat's calls over Lorag: code written for that library runs when its import root is changed.

A translation and nothing else. Three things differ from what it translates: what fails is raised, what has no effect
is named in a warning, and a model is asked in the form in which it was trained.
"""

from __future__ import annotations

from lorag.neural_chat.alias import install_alias as install_alias
from lorag.neural_chat.chatbot import build_chatbot as build_chatbot
from lorag.neural_chat.chatbot import finetune_model as finetune_model
from lorag.neural_chat.chatbot import optimize_model as optimize_model
from lorag.neural_chat.config import GenerationConfig as GenerationConfig
from lorag.neural_chat.config import LoadingModelConfig as LoadingModelConfig
from lorag.neural_chat.config import PipelineConfig as PipelineConfig
from lorag.neural_chat.config import TextGenerationFinetuningConfig as TextGenerationFinetuningConfig
from lorag.neural_chat.plugins import plugins as plugins
