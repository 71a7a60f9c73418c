"""Lets the product's own classifier decide whether a matter needs a question first."""

from typing import Any, Dict, List, Text

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.shared.nlu.training_data.message import Message

MATTERS = {"inquiry", "nlu_fallback"}


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=False)
class RoutingHint(GraphComponent):
    """Turns a matter into ``inquiry_unclear`` when the message came with ``metadata.abstained``."""

    @classmethod
    def create(
        cls,
        config: Dict[Text, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> "RoutingHint":
        """Rasa's constructor; nothing is kept."""
        return cls()

    def process(self, messages: List[Message]) -> List[Message]:
        """Rename the intent where the hint is given."""
        for message in messages:
            hint = message.get("metadata") or {}
            intent = message.get("intent") or {}
            if hint.get("abstained") is True and intent.get("name") in MATTERS:
                message.set("intent", {**intent, "name": "inquiry_unclear"}, add_to_output=True)
        return messages
