"""Every setting of a run: frozen dataclasses, one sentence a field (the rules between them are in configrules)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from medtrain.config.slurm_settings import SlurmConfig as SlurmConfig

PUBLISHED = ("imagenet", "kinetics")  # words for the weights that a backbone's authors published, by what they learned
Event = Literal["finished", "failed", "given_up", "stuck"]


@dataclass(frozen=True)
class DataConfig:
    """Which samples, and how they reach the device."""

    shards: str = ""
    """Folder of the packed dataset (holds manifest.json), or with `datasets` the folder that holds several."""
    datasets: tuple[str, ...] = ()
    """Packed datasets to train on together, folders in `shards` by their names (empty: `shards` is one itself)."""
    holdout: str = ""
    """A packed dataset in `shards` that is kept out of training and validation, and tested on whole at the end."""
    sampling: tuple[str, ...] = ()
    """How often an epoch has each sample of a dataset, as NAME=TIMES (chexpert=0.3 nih=2; once where not named)."""
    batch_size: int = 8
    """Samples in one forward pass on one rank."""
    eval_batch_size: int = 64
    """Samples in one forward pass of an evaluation on one rank."""
    grad_accumulation: int = 1
    """Forward passes that are summed into one optimizer step."""
    global_batch: int = 0
    """Samples in one optimizer step over all ranks (0: batch size x accumulation x ranks at the first start)."""
    image_size: int = 64
    """Height and width of the model's input in pixels."""
    normalize: Literal["fixed", "imagenet", "kinetics", "echo", "image"] = "fixed"
    """By `mean` and `std`, by those of each colour of ImageNet, Kinetics or echocardiograms, or by each image's own."""
    mean: float = 0.5
    """Subtracted from the pixels, which range from 0 to 1."""
    std: float = 0.5
    """Divides the pixels after the mean is subtracted."""
    study_type: str = ""
    """Only the images of one study type, as XR_WRIST of MURA; all: a run for each; combined or empty: one of all."""
    frames: int = 0
    """Frames that the network sees of a clip; a shorter one goes round (0: the data are images)."""
    color_mode: Literal["gray", "rgb"] = "gray"
    """How images or clips were packed, and are read."""
    stride: int = 1
    """Of a clip every so many-th frame is seen."""
    fps: float = 0.0
    """Frames a second that a clip is brought to before every stride-th is taken (0: as it was recorded)."""
    clips: int = 1
    """Windows of a clip, evenly spread over it, whose mean score a test takes."""
    score_threshold: float = 0.0
    """Quality score from which on a clip is good (0: as it was packed, with 0.5 for scores that lie in 0 to 1)."""
    max_samples: int = 0
    """Use only this many samples of each split (0: all)."""
    workers: int = 2
    """Processes a rank that read, decode and augment."""
    uncertain: Literal["nan", "zero", "one", "soft"] = "nan"
    """What a label that its source leaves open counts as in training (nan: unknown; soft: a target of 0.7)."""
    unmentioned: Literal["nan", "zero"] = "nan"
    """What a label counts as in training where its source could have named it and does not (nan: unknown)."""
    prefetch: int = 4
    """Batches made ready ahead of the training step (small ones: more, so that every worker is busy)."""

    @property
    def unit(self) -> str:
        """What the samples are called."""
        return "clips" if self.frames else "images"


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to the training images; all geometry is one fused warp."""

    rotate_deg: float = 0.0
    """Rotate by an angle drawn between minus and plus this many degrees."""
    rotate_p: float = 0.5
    """Probability of a rotation."""
    flip_p: float = 0.0
    """Probability of a left-right flip."""
    zoom_min: float = 1.0
    """Smallest magnification."""
    zoom_max: float = 1.0
    """Largest magnification."""
    zoom_p: float = 0.5
    """Probability of a zoom."""
    shift: float = 0.0
    """Move by up to this share of the side, across and down."""
    shift_p: float = 0.5
    """Probability of a shift."""
    brightness: float = 0.0
    """Add up to plus or minus this share of full brightness."""
    contrast: float = 0.0
    """Spread or narrow the pixels about mid-grey by up to this share."""
    brightness_contrast_p: float = 0.5
    """Probability of a change of brightness and contrast."""
    coarse_dropout: int = 0
    """Largest number of rectangles that are blackened (coarse dropout; DeVries and Taylor, 2017)."""
    coarse_dropout_side: float = 0.125
    """Longest side of such a rectangle as a share of the image's."""
    coarse_dropout_p: float = 0.5
    """Probability of blackening."""
    speckle: float = 0.0
    """Multiply each pixel of a clip by noise around 1 of up to this deviation."""
    speckle_p: float = 0.5
    """Probability of such noise."""
    crop_time_min: float = 1.0
    """Smallest share of a clip's length that its frames are taken from."""
    crop_time_p: float = 0.5
    """Probability of such a temporal crop."""
    mask_time: float = 0.0
    """Share of a clip's frames that are blackened, one behind the other."""
    mask_time_p: float = 0.5
    """Probability of such a temporal mask."""


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    backbone: str = "densenet121"
    """Architecture: densenet121 to 201 of torchvision, r2plus1d_18 (clips), or any of timm (resnet50.a1_in1k)."""
    channels: Literal[1, 3] = 1
    """Input channels; one-channel images are repeated for 3."""
    dropout: float = 0.0
    """Dropout inside the backbone (r2plus1d_18: before its head)."""
    weights: str = ""
    """Local .safetensors, .pt or .pth file, "imagenet" or "kinetics" for published ones, or empty for random ones."""
    compile: Literal["none", "blocks"] = "none"
    """What torch.compile makes faster: each block of the network by itself (minutes at the first start), or nothing."""


@dataclass(frozen=True)
class LossConfig:
    """What is minimised."""

    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes (multiclass)."""
    focal_gamma: float = 0.0
    """Weight of what is predicted well falls with this power, the focal loss (multilabel; 0: cross entropy)."""
    focal_alpha: str = "none"
    """Weight of what is present, as 0.25 (absent: 0.75; multilabel), or balanced: both sum up to the same; or none."""


@dataclass(frozen=True)
class OptimConfig:
    """How the weights move."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Update rule."""
    lr: float = 1e-4
    """Learning rate at the start."""
    weight_decay: float = 0.0
    """Decay of the weights; norms and biases are left out."""
    layer_decay: float = 1.0
    """Learning rate of each layer as a share of that of the layer behind it, timm's networks only (1: all the same)."""
    clip_norm: float = 0.0
    """Largest gradient norm of a step (0: no clipping)."""
    ema_decay: float = 0.0
    """Decay of a moving average of the weights, which then is what is validated and kept as best (0: none)."""
    unfreeze: str = ""
    """How many blocks train, counted from the head: 2, or 1,2,3 for more of them as epochs go by (empty: all)."""
    unfreeze_every: int = 0
    """Epochs between the numbers of `unfreeze`."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves."""

    schedule: Literal["plateau", "cosine", "warm_restarts", "constant"] = "constant"
    """Rule: cut on a plateau, cosine to zero over all epochs, cosines that start anew, or none."""
    factor: float = 0.5
    """A plateau multiplies the learning rate by this."""
    plateau_patience: int = 7
    """Epochs without an improvement that make a plateau."""
    plateau_of: Literal["loss", "monitor"] = "loss"
    """What must improve: the validation loss, or the metric in `monitor`."""
    min_lr: float = 0.0
    """The learning rate never falls below this."""
    restart_epochs: int = 5
    """Epochs of the first cosine of warm_restarts (T_0 of Loshchilov and Hutter, ICLR 2017)."""
    restart_growth: int = 2
    """Each further cosine of warm_restarts is so many times as long (T_mult)."""


@dataclass(frozen=True)
class CheckpointConfig:
    """When work is made durable."""

    every_minutes: float = 10.0
    """Save in mid-epoch after this many minutes (0: at the ends of epochs only)."""
    every_steps: int = 0
    """Save in mid-epoch after this many optimizer steps (0: by time only)."""
    keep_last: int = 2
    """Newest checkpoints to keep; the best is kept besides."""
    keep_every: int = 0
    """Keep the checkpoint of every n-th epoch as well (0: none)."""


@dataclass(frozen=True)
class TrackingConfig:
    """Where the curves are shown besides the journal in the run folder."""

    tracker: Literal["wandb", "mlflow", "tensorboard", "none"] = "wandb"
    """Tracker that is fed from the journal."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """W&B connection (auto: online where a key is set, else offline)."""
    project: str = "medtrain"
    """Project, or MLflow experiment."""
    entity: str = ""
    """W&B team or user (empty: your default)."""


@dataclass(frozen=True)
class Config:
    """All settings of one run. Precedence: recipe < -c file.yaml (later files win) < flags."""

    recipe: str = ""
    """Recipe that the settings started from."""
    run: str = ""
    """Name of the run (empty: recipe, date and time)."""
    runs: str = "runs"
    """Folder that holds the runs."""
    share: Literal["private", "group"] = "private"
    """Who may read the run besides you: nobody, or the group of its folder."""
    task: Literal["multiclass", "multilabel", "abnormality", "score"] = "multiclass"
    """Kind of problem: how scores become a loss and metrics."""
    determinism: Literal["fast", "exact"] = "fast"
    """Same bits from run to run at one number of ranks (fast), or at any number, which costs time (exact)."""
    notify: tuple[str, ...] = ()
    """Who is told how the run goes: webhook, command:/path/of/a/program, mail (of Slurm), or several of them."""
    notify_on: tuple[Event, ...] = ("finished", "failed", "given_up", "stuck")
    """What they are told: that it finished, failed, was given up after three crashes, or makes no progress."""
    hang_timeout_seconds: float = 45.0
    """End an attempt without a heartbeat for so long (or three times its slowest step), and start it again."""
    seed: int = 42
    """Decides start weights, order of samples, augmentation."""
    ensemble: int = 1
    """Runs with seeds of their own, whose probabilities are averaged (abnormality; 1: no ensemble)."""
    epochs: int = 10
    """Largest number of passes over the training split."""
    patience: int = 0
    """Stop after so many epochs without a better `monitor` (0: never)."""
    monitor: str = "accuracy"
    """Validation metric by which a checkpoint is the best (of loss, mae, rmse, ece and brier the lowest)."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the forward pass (auto: bf16 where the device has it, else fp16 on a GPU, else fp32)."""
    weights_dir: str = ""
    """Folder that gets the best weights too, as STUDY_TYPE/model.pth or RUN/model.pth (empty: none)."""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
