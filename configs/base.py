"""Every field of a run with its default and its unit, except those of config.model.

configs/models/<system>.py holds the fields of config.model for each system. Recipes
start from `get_config(system)` and change what they need; a field that is not listed is
an error. Lengths are in cube units: the largest extent of a shape is 1.
"""

import importlib.util

import ml_collections
from ml_collections.config_dict import placeholder


def get_config(model: str = "onet") -> ml_collections.ConfigDict:
  """The defaults of a run, with the config.model of a file in configs/models."""
  config = ml_collections.ConfigDict()
  config.name = "base"  # name of the run in reports
  config.seed = 0  # seed of initial values, data order and every random draw

  prep = config.prep = ml_collections.ConfigDict()
  # Source of the meshes: synthetic, hollow (cups, boxes, pipes), folder:PATH
  # (sub-folders are categories; or one file), csv:PATH (a table of files),
  # shapenet:PATH (raw), official:PATH (ShapeNet as the reference prepared it),
  # sh3f:PATH or sh3f:debian (Sweet Home 3D furniture), pybullet, rooms:SOURCE (rooms of
  # the objects of another source, such as rooms:synthetic), official_rooms:PATH (the
  # rooms of convolutional occupancy networks).
  prep.source = "synthetic"
  prep.out = "data/synthetic"  # directory of the prepared data set
  # Data sets that are mixed with it, a section each with the fields of prep in which it
  # differs, such as source and out; data.mixture names their directories.
  prep.others = ml_collections.ConfigDict()
  prep.seed = 0  # seed of shapes, samples and splits
  # Number of synthetic shapes per category, or of rooms for each number of objects.
  prep.per_category = 200
  prep.points = 100_000  # labelled points per shape, uniform in the padded cube
  # Labelled points per shape near the surface; the paper has none.
  prep.near_points = 0
  # Standard deviations of their distance from the surface, in equal shares.
  prep.near_sigmas = (0.01, 0.03)
  prep.surface_points = 100_000  # surface points with normals per shape
  # Whether signed distances of the labelled points are stored, for deepsdf.
  prep.distances = False
  prep.padding = 0.1  # points fill a cube of side 1 + padding around the unit cube
  prep.voxel_side = 32  # cells along a side of the stored occupancy grid
  # Rendered pictures per shape, as Choy et al. 2016 with 24; 0 for none.
  prep.views = 0
  prep.view_side = 137  # side of a rendered picture in pixels
  prep.dtype = "float16"  # type of stored points and normals: float16 or float32
  prep.solid_splits = ("test",)  # splits whose labelled surfaces are kept as meshes
  # Share of each category for validation, where the source fixes no split.
  prep.val_fraction = 0.1
  prep.test_fraction = 0.2  # share of each category for testing, likewise
  # Whether the source is one mesh, which all splits have, each with samples of its own.
  prep.single_shape = False
  # Files with the same content as an earlier one: drop or keep.
  prep.duplicates = "drop"
  prep.workers = 0  # processes; 0 for one per core
  prep.time_limit = 180.0  # seconds per mesh; 0 for no limit
  prep.memory_limit = 4.0  # GiB of resident memory per process; 0 for no limit
  prep.retry = False  # whether to retry meshes that crashed or ran into a limit
  prep.shard_size = 64  # shapes per shard

  # Repair of meshes that are not closed.
  solid = prep.solid = ml_collections.ConfigDict()
  solid.fill = True  # whether holes are closed with triangles
  # Cells along the cube of voxel remeshing, for meshes whose winding numbers are
  # ambiguous; 0 rejects these meshes.
  solid.resolution = 128
  # Half the thickness of the slabs that open sheets become, in cube units; 0 for none.
  solid.thickness = 0.006
  # Distance beyond which surface counts as added or lost, in cube units.
  solid.tolerance = 0.02
  solid.max_ambiguous = 0.3  # largest accepted share of points without a clear label
  # Largest accepted share of clear winding numbers that contradict the labels.
  solid.max_contradicted = 0.03
  # Largest accepted share of labelled surface that the mesh does not have.
  solid.max_added = 0.3
  # Largest accepted share of the mesh's surface that the labels do not have.
  solid.max_lost = 0.05
  # Largest accepted share of the mesh's area in open sheets.
  solid.max_sheets = 0.5
  # Whether far-away parts are cut off before the mesh is scaled to the unit cube.
  solid.crop_outliers = False

  data = config.data = ml_collections.ConfigDict()
  data.dir = prep.get_ref("out")  # directory of the prepared data set
  # Further data sets, ((directory, times), ...): training takes each of their shapes
  # so many times as often as one of data.dir; validation takes all of them.
  data.mixture = ()
  data.points = 2048  # labelled points per shape and step
  # Share of them drawn near the surface, where prep.near_points were prepared.
  data.near_fraction = 0.0
  # Largest random stretch of each axis in training: factors from 1 to 1 + this.
  data.random_stretch = 0.0
  # Draw of points in the cube: uniform, or equal for as many inside as outside.
  data.sampling = "uniform"
  # Observation of a shape: cloud, image, image_camera (an image and its camera),
  # images, voxels, index or none.
  data.inputs = "cloud"
  # Targets of the loss beside occupancies: any of distances, surface (points with
  # normals, as many as data.points), voxels.
  data.targets = ()
  data.cloud_points = 300  # points of an input cloud
  data.cloud_sigma = 0.005  # standard deviation of its Gaussian noise
  # Smallest share of the shape's extent along an axis that the cloud covers: the axis
  # is drawn, and a share between this and 1, from the lower end; 1 for whole clouds.
  data.cloud_share = 1.0
  # Windows of a shape in place of all of it: side of the middle, in which points are
  # drawn, and side of a cell, of which centres are multiples; () for whole shapes.
  data.crop = ()
  # Noise added to points that are stored as float16; the reference has 1e-4.
  data.float16_noise = 0.0
  data.image_side = 224  # side of an input image in pixels
  data.image_views = 4  # images per shape for data.inputs=images
  # Smallest share of the area that a random crop keeps in training; 1 for no crop.
  data.image_crop = 1.0
  data.voxel_side = prep.get_ref("voxel_side")  # cells along a side of an input grid
  # Place of the training split: stream from its files, memory of the host, or memory of
  # the device (1.2 MB a shape of a cloud task); auto takes the nearest with room.
  data.placement = "auto"
  data.workers = 2  # loader processes for data.placement=stream; 0 for threads only

  # Clouds as scanners make them, in training and validation, in place of cloud_points,
  # cloud_sigma and cloud_share; each is placed in the cube by its own box.
  scan = data.scan = ml_collections.ConfigDict()
  # Fewest and most points, log-uniform between them; () for plain clouds.
  scan.points = ()
  scan.sigma = 0.02  # largest standard deviation of the noise
  scan.outliers = 0.02  # largest share of points anywhere in the box
  # Largest ratio of the densities at both ends of a shape, as a power of e.
  scan.unevenness = 2.0
  scan.turned = 0.5  # share of scans turned at random; the others turn about y alone
  scan.cut = 0.0  # share of scans of which all beyond a plane is missing
  scan.kept = 0.5  # smallest share of the points that such a plane leaves
  scan.viewed = 0.0  # share of scans that show what one to three cameras see
  scan.extent = 1.0  # largest side of a scan's box in the cube, in cube units

  if importlib.util.find_spec(f"configs.models.{model}") is None:
    raise ValueError(
      f"configs/base.py:{model}: no such system; want a file in configs/models"
    )
  config.model = importlib.import_module(f"configs.models.{model}").get_config()

  optim = config.optim = ml_collections.ConfigDict()
  # adam, adamw, muon (of matrices, Adam of all else), muon_conv (of matrices and of the
  # kernels of convolutions) or sgd.
  optim.name = "adam"
  optim.learning_rate = 1e-4  # peak learning rate
  optim.code_rate = 1.0  # factor of the learning rate of a code table's rows
  # Learning rate after the warm-up: constant, cosine to 0, wsd (constant, then linear
  # to 0 in the last fifth of the steps), or halve (every optim.halve_every steps).
  optim.schedule = "constant"
  # Steps between halvings of the learning rate; schedule=halve only.
  optim.halve_every = 0
  optim.warmup_steps = 0  # steps of linear warm-up from 0
  optim.clip_norm = 0.0  # largest norm of the gradient; 0 for no clipping
  optim.weight_decay = 0.0  # decoupled weight decay; adamw only
  # Decay of averaged variables, which validation and use prefer; 0 for no average.
  optim.ema_decay = 0.0
  # Batches from which batch norm statistics of the averaged variables are recomputed
  # before validation; 0 averages the running statistics instead.
  optim.ema_batches = 0

  train = config.train = ml_collections.ConfigDict()
  train.steps = 300_000  # optimiser steps of the whole run
  # Workdir of a run, or a pretrained model, whose weights this run starts with; "" for
  # random ones.
  train.start_from = ""
  train.batch_size = 64  # shapes per step over all devices
  # Operands of matrix products: float32, bfloat16 (sums in float32), or auto by device.
  train.precision = "float32"
  # Steps per call of the compiled program; divides all other step counts.
  train.steps_per_call = 1
  # Whether the decoder's blocks are computed twice, for less memory.
  train.remat = False
  train.log_every = 10  # steps between lines of the log
  train.save_every = 1000  # steps between latest checkpoints
  train.keep_every = 100_000  # steps between checkpoints that are kept; 0 for none
  train.validate_every = 2000  # steps between validations
  # A step whose loss or gradient is not finite: stop the run, or skip the step.
  train.on_nonfinite = "stop"
  # Validation shapes drawn in logs/validation.png and TensorBoard; 0 for none.
  train.preview_shapes = 3
  # Where the log goes besides logs/metrics.jsonl: tensorboard, csv, wandb.
  train.sinks = ("tensorboard",)

  val = config.val = ml_collections.ConfigDict()
  val.split = "val"  # split that validation reads
  # Score of the best checkpoint: iou (highest), loss (lowest), or chamfer_l1 (lowest;
  # with val.mesh_shapes).
  val.select = "iou"
  val.points = 0  # labelled points per shape; 0 for all
  val.shapes = 0  # shapes of the split, evenly spread; 0 for all
  val.batch_size = 8  # shapes per call
  # Validation shapes whose meshes are extracted and measured (Chamfer-L1); 0 for none.
  val.mesh_shapes = 0

  test = config.test = ml_collections.ConfigDict()
  test.split = "test"  # split that generate, evaluate and report read
  test.shapes = 0  # shapes of the split, evenly spread; 0 for all
  # Threshold of the surface: a probability of occupancy, or a distance for a model of
  # distances; None for the one that validation chose.
  test.threshold = placeholder(float)
  test.samples = 100_000  # surface points drawn from each mesh for its measures
  # Margin of the box of the true surface, beyond whose sides and floor points of the
  # mesh do not count, as for rooms; 0 counts all.
  test.trim = 0.0
  # Further distances of the F-score, in cube units, beside 0.01, such as (0.005, 0.02).
  test.f_scores = ()
  # Points of either surface for the earth mover's distance, an exact assignment in time
  # that grows with their cube: 1,024 take a tenth of a second; 0 for none.
  test.emd_points = 0
  test.voxel_iou = False  # whether IoU at the cells of the stored grid is measured

  generation = config.generation = ml_collections.ConfigDict()
  # Isosurface extraction: mise_roots, dual (sharp edges), or mise (the reference's).
  generation.method = "mise_roots"
  generation.resolution_0 = 16  # cells along a side of the first grid; mise wants 32
  generation.upsampling_steps = 3  # doublings of it; 2 for the reference's grid
  # Parts of less volume than this share of the largest's are left out; 0 keeps all.
  generation.least_part = 0.0
  generation.smooth_steps = 0  # steps of Taubin's smoothing
  # Largest number of faces after simplification; None keeps all.
  generation.simplify_faces = placeholder(int)
  # Whether z is drawn from its prior; for a model with model.z_dim only.
  generation.sample = False
  generation.refine_steps = 0  # steps of RMSprop on the vertices (paper, Eq. 6)
  # Operands of matrix products, as train.precision. float32 measures the same on every
  # machine.
  generation.precision = "float32"
  generation.points_per_batch = placeholder(int)  # points per call; None chooses
  # Where octree and triangles are computed: host (NumPy), device (with the network in
  # one program), or auto, what was measured to be faster.
  generation.backend = "auto"
  # Side of a cell of a network of windows in the unit of a user's cloud, which is then
  # reconstructed as a scene; None for a cloud of one shape, scaled to the unit cube.
  generation.cell_size = placeholder(float)
  # Steps in which the network is trained further on the points of each cloud (Tang et
  # al. 2021), for shapes unlike those of the training; 0 for none.
  generation.finetune_steps = 0
  generation.finetune_learning_rate = 1e-4  # of Adam in these steps
  generation.format = "ply"  # file format of meshes: ply, glb, obj or off
  # What predicted points (psgn), and the vertices of patches (atlasnet), become: none,
  # ball_pivoting or poisson. It takes pymeshlab, which the extra `meshing` brings.
  generation.point_mesh = "none"

  report = config.report = ml_collections.ConfigDict()
  report.shapes = 12  # shapes in the report's 3D viewers
  return config
