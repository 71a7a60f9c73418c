"""Japanese words for Rasa."""

from typing import Any, Dict, List, Text

from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.nlu.tokenizers.tokenizer import Token, Tokenizer
from rasa.shared.nlu.training_data.message import Message
from sudachipy import Dictionary, SplitMode


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.MESSAGE_TOKENIZER, is_trainable=False)
class SudachiTokenizer(Tokenizer):
    """Shortest units of SudachiPy, with the normalised spelling as the lemma."""

    def __init__(self, config: Dict[Text, Any]) -> None:
        super().__init__(config)
        self._sudachi = Dictionary(dict="core").create(mode=SplitMode.A)

    @staticmethod
    def supported_languages() -> List[Text]:
        """Japanese only."""
        return ["ja"]

    @staticmethod
    def required_packages() -> List[Text]:
        """What must be installed beside Rasa."""
        return ["sudachipy", "sudachidict_core"]

    @staticmethod
    def get_default_config() -> Dict[Text, Any]:
        """Settings that Rasa's base class asks for."""
        return {
            "intent_tokenization_flag": False,
            "intent_split_symbol": "_",
            "token_pattern": None,
            "prefix_separator_symbol": None,
        }

    def tokenize(self, message: Message, attribute: Text) -> List[Token]:
        """Words of one attribute, with offsets in characters; never an empty list."""
        text = message.get(attribute)
        tokens = [
            Token(word.surface(), word.begin(), word.end(), lemma=word.normalized_form())
            for word in self._sudachi.tokenize(text)
            if word.surface().strip()
        ]
        return tokens or [Token(text, 0)]
