"""People: where two annotators, or an annotator and a trained model, do not agree."""

from collections.abc import Iterator

from components.qa.checks import Check
from components.qa.dataset import Dataset
from components.qa.findings import Finding, Severity


class AnnotatorsDisagree(Check):
    name = "annotators_disagree"
    group = "people"
    severity: Severity = "warning"
    threshold = 60.0
    unit = "HOTA, percent"
    explanation = (
        "The clip was annotated twice (`avis agree` compares, qa.agreements names its file), and the two "
        "agree less than the threshold: HOTA of the one against the other. FSLA, by seconds, is in the "
        "message. No model can be expected to do better than people agree."
    )
    fix = "Look at the clip together, settle what sounds, and write it into the guidelines."

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        for agreement in dataset.agreements:
            if not agreement.video or agreement.hota is None or agreement.hota >= self.limit:
                continue
            people = " and ".join(name or "somebody" for name in (agreement.first, agreement.second))
            fsla = "" if agreement.fsla is None else f", FSLA {agreement.fsla:.0f}"
            message = f"{people} agree to HOTA {agreement.hota:.0f}{fsla}"
            yield self.found(message, split=agreement.split, video=agreement.video, value=agreement.hota)


class ModelDoubts(Check):
    name = "model_doubts"
    group = "people"
    severity: Severity = "info"
    threshold = 2.5
    unit = "nats of loss"
    explanation = (
        "The label surprises a trained model (`avis suspect` computes the losses, qa.suspicions names "
        "them): another category, a track that it does not see, or an object that it is sure of and nobody "
        "labelled. As good as the model is: one that trained for 30 steps on the demo's clips found 14 of 16 "
        "planted wrong categories and 11 of 16 unlabelled objects; half of what it said was planted "
        "(benchmarks/suspicions.py). Read them in the order of the loss."
    )
    fix = "Look and listen; correct the label, or accept it: rare things surprise a model, too."

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        for doubt in sorted(dataset.suspicions, key=lambda doubt: -doubt.loss):
            if doubt.loss >= self.limit:
                yield self.found(
                    f"{doubt.message}, loss {doubt.loss:.1f}",
                    split=doubt.split,
                    video=doubt.video,
                    track=doubt.track,
                    frame=doubt.frame,
                    last_frame=doubt.last_frame,
                    value=doubt.loss,
                )
