"""The hyperparameters that every family has."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

OptimizerName = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"]
ScheduleName = Literal["constant", "cosine", "step", "one_cycle", "warmup"]
PrecisionName = Literal["32", "bf16"]
InitName = Literal[
    "default", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "small_normal", "zeros"
]
SamplingName = Literal["shuffle", "balanced", "hard"]


class FamilyConfig(BaseModel):
    """Hyperparameters common to all families; each family adds its own in a subclass."""

    # What a cohort's lanes may differ in beside every float: none of these changes what the network computes.
    LANEWISE: ClassVar[frozenset[str]] = frozenset({"optimizer", "schedule", "warmup_epochs", "init"})

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    optimizer: OptimizerName = Field("adamw", description="update rule")
    lr: float = Field(1e-3, gt=0, le=10, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of `momentum` and `nesterov`")
    weight_decay: float = Field(0.0, ge=0, le=10, description="decoupled for `adamw`, an L2 penalty elsewhere")
    schedule: ScheduleName = Field("cosine", description="course of the learning rate over all steps")
    warmup_epochs: int = Field(1, ge=0, le=1000, description="epochs of linear warm-up of `warmup`")
    batch_size: int = Field(64, ge=1, le=65536, description="samples per step")
    init: InitName = Field("kaiming_normal", description="how weights begin; `default` is torch's own")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability that a unit is dropped in training")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    sampling: SamplingName = Field("shuffle", description="how an epoch's batches are drawn")
    gradient_clip: float = Field(0.0, ge=0, le=1e6, description="largest norm of the gradient; 0 is off")
    precision: PrecisionName = Field("32", description="`bf16` computes layers in bfloat16, weights stay float32")

    def problem(self, spec: Any) -> str | None:
        """Say in one sentence why this configuration cannot take such data, or None if it can.

        Args:
            spec: of a form that the family takes.
        """
        if self.sampling == "balanced" and not spec.classes:
            return "sampling: balanced needs classes, and the targets here are none"
        return None


class ImageConfig(FamilyConfig):
    """Hyperparameters common to all families of images: augmentation on the fly."""

    augment_strength: float = Field(0.0, ge=0, le=4, description="scales on-the-fly augmentation; 0 is off")
    augment_shift: float = Field(0.1, ge=0, le=0.5, description="largest shift at strength 1, share of a side")
    augment_rotate: float = Field(10.0, ge=0, le=45, description="largest rotation at strength 1, degrees")
    augment_scale: float = Field(0.1, ge=0, le=1, description="largest zoom at strength 1, in or out")
    augment_shear: float = Field(5.0, ge=0, le=20, description="largest shear at strength 1, degrees")
    augment_flip: bool = Field(False, description="mirror half of the images left to right")
    augment_erase: float = Field(0.0, ge=0, le=1, description="probability of erasing a box at strength 1")
    augment_jitter: float = Field(0.0, ge=0, le=1, description="change of brightness, contrast at strength 1")
    mixup: float = Field(0.0, ge=0, le=100, description="alpha of mixup's Beta(alpha, alpha); 0 is off")
    cutmix: float = Field(0.0, ge=0, le=100, description="alpha of CutMix's Beta(alpha, alpha); 0 is off")
