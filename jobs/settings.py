"""What an operator sets for the learner, from the environment; the service's settings hold the rest."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LearnerSettings(BaseSettings):
    """One value per environment variable; the field's alias is the variable's name."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    threads: int = Field(
        1, alias="DRN_LEARNER_THREADS", ge=1, description="of one update: these networks are too small to gain from more"
    )
    niceness: int = Field(
        10,
        alias="DRN_LEARNER_NICENESS",
        ge=0,
        le=19,
        description="of learning, so that serving goes first on cores that both use",
    )
    keep_weight_days: int = Field(
        7, alias="DRN_KEEP_WEIGHT_DAYS", ge=1, description="days for which versions that have served keep their weights"
    )
    keep_versions: int = Field(
        2_000, alias="DRN_KEEP_VERSIONS", ge=2, description="at most so many minor updates keep them: they may come every second"
    )
    keep_impression_days: int = Field(90, alias="DRN_KEEP_IMPRESSION_DAYS", ge=1, description="days of impressions that are kept")
    keep_feedback_days: int = Field(
        400, alias="DRN_KEEP_FEEDBACK_DAYS", ge=1, description="days of feedback; histories look back a year"
    )
