"""What the rows of a released class head mean: files of AVISM and ACVIS do not say it."""

# the categories of AVISeg by their ids, 1 to 26
AVISEG_CATEGORIES = (
    *("person", "violin", "guitar", "cello", "flute", "piano", "ukulele", "accordion", "guzheng"),
    *("clarinet", "cat", "car", "saxophone", "dog", "lawn_mover", "tuba", "banjo", "pipa", "bassoon"),
    *("airplane", "tree_harvester", "trumpet", "lion", "bass", "erhu", "horse"),
)
