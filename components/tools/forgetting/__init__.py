"""What `avis forget` removes: which clips are meant, what shows them, which models saw them."""
