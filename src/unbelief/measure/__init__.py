"""What a model said about examples: recorded once, scored many times."""

from unbelief.measure.recitation import RecitationMeasurement, measure_recitation
from unbelief.measure.teacher_forced import AnswerMeasurement, measure_answers

__all__ = [
    "AnswerMeasurement",
    "RecitationMeasurement",
    "measure_answers",
    "measure_recitation",
]
