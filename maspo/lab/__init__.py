"""What is made of trainings and evaluations: runs, races, scores, and the page with sliders."""
