"""The stages from nothing to a tested policy, each a function of the settings; ``scripts/`` calls them."""
