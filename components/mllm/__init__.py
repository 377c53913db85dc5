"""Stage `mllm`: asks multi-modal language models who sounds, when and where, and scores everybody alike."""
