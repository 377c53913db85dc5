"""preannotate: drafts that people correct instead of drawing, and what they changed of them."""
