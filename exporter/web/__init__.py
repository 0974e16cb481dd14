"""Who may read the numbers, and what a person sees."""
