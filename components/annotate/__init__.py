"""annotate: annotation exports of any supported format to data/annotations/{train,val,test}.json."""
