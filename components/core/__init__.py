"""What the stages share: parameters, paths, records, masks, engine, journal, tracking."""
