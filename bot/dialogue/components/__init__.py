"""What the Rasa process adds to Rasa: Japanese words, the routing hint, the way in, and honesty about failures."""
