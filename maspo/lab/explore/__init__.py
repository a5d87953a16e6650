"""The page with sliders: what an objective does to a token."""
