"""From any triangle soup to a watertight solid, or the reason why not."""
