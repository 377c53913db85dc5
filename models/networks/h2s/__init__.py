"""H2S (ACM MM 2026): AVISM with the sound of a frame separated into its sources."""
