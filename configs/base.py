"""Every field once: its default, its unit and one comment.

Lengths are in cube units: the shape's largest extent is 1. Other configs start from
`get_config()` and change what they need; a field that does not stand here is an error.
"""

import ml_collections
from ml_collections.config_dict import placeholder


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.name = "base"  # of the run, shown in reports
  config.seed = 0  # of initial values, data order and every draw

  prep = config.prep = ml_collections.ConfigDict()
  # synthetic, folder:PATH (sub-folders are categories), csv:PATH (a table of files),
  # shapenet:PATH (raw), official:PATH (ShapeNet as the reference prepared it),
  # sh3f:PATH or sh3f:debian (Sweet Home 3D furniture), pybullet
  prep.source = "synthetic"
  prep.out = "data/synthetic"  # directory of the prepared data set
  prep.seed = 0  # of shapes, samples and splits
  prep.per_category = 200  # synthetic shapes per category
  prep.points = 100_000  # labelled points per shape, uniform in the padded cube
  prep.near_points = 0  # labelled points near the surface; the paper has none
  prep.near_sigmas = (0.01, 0.03)  # their deviations from it, in equal shares
  prep.surface_points = 100_000  # surface points with normals per shape
  prep.padding = 0.1  # of the cube around the unit cube: side 1 + padding
  prep.voxel_side = 32  # of the occupancy grid
  prep.views = 0  # rendered pictures per shape, as of Choy et al. 2016 with 24
  prep.view_side = 137  # pixels
  prep.dtype = "float16"  # of points and normals as stored, or float32
  prep.solid_splits = ("test",)  # whose labelled surfaces are kept as meshes
  prep.val_fraction = 0.1  # of each category, where the source fixes no split
  prep.test_fraction = 0.2
  prep.duplicates = "drop"  # or keep: files with the same content as an earlier one
  prep.workers = 0  # processes; 0 for all cores
  prep.time_limit = 180.0  # seconds per mesh; 0 for none
  prep.memory_limit = 4.0  # GiB of resident memory per process; 0 for none
  prep.retry = False  # take up meshes again that were lost to a crash or a limit
  prep.shard_size = 64  # shapes per shard

  solid = prep.solid = ml_collections.ConfigDict()  # of meshes that are not closed
  solid.fill = True  # whether holes are closed with triangles
  solid.resolution = (
    128  # cells along the cube for voxel remeshing; 0 to reject instead
  )
  solid.thickness = 0.006  # open sheets grow by this to either side; 0 drops them
  solid.tolerance = 0.02  # surface further than this from the mesh is added or lost
  solid.max_ambiguous = 0.3  # largest share of the cube with an unclear winding number
  solid.max_contradicted = 0.03  # largest share of the mesh that contradicts the labels
  solid.max_added = 0.3  # largest share of the labelled surface that the mesh lacks
  solid.max_lost = 0.05  # largest share of the mesh that the labelled surface lacks
  solid.max_sheets = 0.5  # largest share of the mesh that encloses nothing
  solid.crop_outliers = False  # whether far-away parts are removed before scaling

  data = config.data = ml_collections.ConfigDict()
  data.dir = prep.get_ref("out")  # where the prepared data set lies
  data.points = 2048  # labelled points per shape and step
  data.near_fraction = 0.0  # of them drawn near the surface, if prep made such points
  data.stretch = 0.0  # random scale of each axis in training: at most 1 + this
  data.sampling = "uniform"  # of points in the cube, or equal: as many in as out
  data.inputs = "cloud"  # what is seen: cloud, image, images, voxels, index or none
  data.cloud_points = 300  # points of the input cloud
  data.cloud_sigma = 0.005  # deviation of its Gaussian noise
  data.float16_noise = 0.0  # added to float16 points; the reference has 1e-4
  data.image_side = 224  # pixels that the network sees
  data.image_views = 4  # of each shape, for inputs = images
  data.image_crop = 1.0  # smallest share of a random crop in training; 1 for none
  data.voxel_side = prep.get_ref("voxel_side")  # of the grid that is seen
  # stream from the files, or keep the training split in memory of the host or of the
  # device (1.2 MB a shape of a cloud task); auto: the nearest that has room
  data.residence = "auto"
  data.workers = 2  # loader processes where it streams; 0 for threads only

  model = config.model = ml_collections.ConfigDict()
  model.name = "onet"  # system, see models/registry.py
  model.encoder = "pointnet_resnet"  # models/registry.py lists all, and the decoders
  model.encoder_hidden_size = 512
  model.encoder_linear = True  # a ResNet's last layer; without it c_dim is its features
  model.pretrained = ""  # torchvision file of a ResNet's weights, to start from
  model.c_dim = 512  # size of the code
  model.codes = 0  # rows of a code table; 0 for one per training shape
  model.z_dim = 0  # size of the random latent z; 0 for a model without
  model.latent_hidden_size = 128  # of the encoder of z
  model.kl_weight = 1.0  # of KL(q(z) || N(0, 1)) in the loss
  model.decoder = "cbatchnorm"
  model.hidden_size = 256  # of the decoder
  model.tau = 0.2  # surface probability while training; validation then chooses
  model.octaves = 0  # of Fourier features of points; 0 as in the paper
  model.leaky = False  # LeakyReLU(0.2) before the decoder's last layer
  model.unbiased_variance = True  # of running statistics: PyTorch's way, or Flax's

  optim = config.optim = ml_collections.ConfigDict()
  optim.name = "adam"  # adam, adamw, muon or sgd
  optim.learning_rate = 1e-4  # at its highest
  # what that rate is multiplied by when train.batch_size is not 64: nothing (none),
  # batch_size / 64 (linear), or its square root (root)
  optim.batch_scaling = "none"
  # or down to zero at train.steps: cosine, or wsd in the last fifth of them
  optim.schedule = "constant"
  optim.warmup_steps = 0  # linear from zero
  optim.clip_norm = 0.0  # largest norm of the gradient; 0 for no clipping
  optim.weight_decay = 0.0  # adamw only
  optim.ema_decay = 0.0  # of averaged variables for validation and use; 0 for none
  # batches that the averaged variables' batch norms see before they are validated, for
  # statistics of their own; 0 for the average of the running ones
  optim.ema_batches = 0

  train = config.train = ml_collections.ConfigDict()
  train.steps = 300_000
  train.batch_size = 64  # shapes per step over all devices
  # of matrix products: float32, bfloat16 (sums in float32), or auto, by the device
  train.precision = "float32"
  train.steps_per_call = 1  # more keep an accelerator busy; divides all *_every
  train.accumulate = 1  # parts of a batch on each device, one in memory at a time
  train.remat = False  # compute the decoder's blocks twice, for less memory
  train.log_every = 10  # steps
  train.save_every = 1000  # steps between latest checkpoints
  train.keep_every = 100_000  # steps of checkpoints that stay; 0 for none
  train.validate_every = 2000  # steps
  train.on_nonfinite = "stop"  # where loss or gradient is not finite, or skip the step
  train.pictures = 3  # validation shapes shown in TensorBoard; 0 for none

  val = config.val = ml_collections.ConfigDict()
  val.split = "val"
  val.select = "iou"  # what the best checkpoint has most of, or least: loss
  val.points = 0  # labelled points per shape; 0 for all
  val.shapes = 0  # of the split, evenly spread; 0 for all
  val.batch_size = 8

  test = config.test = ml_collections.ConfigDict()
  test.split = "test"
  test.shapes = 0  # of the split, evenly spread; 0 for all
  test.tau = placeholder(float)  # surface probability; None for validation's best
  test.tau_grid = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
  test.samples = 100_000  # surface points drawn from a mesh to judge it

  generation = config.generation = ml_collections.ConfigDict()
  generation.method = "mise_roots"  # or dual; mise is the reference's
  generation.resolution_0 = 16  # cells per side of the first grid; of mise's, 32
  generation.upsampling_steps = 3  # doublings of it; of mise's grid, 2
  generation.simplify_faces = placeholder(int)  # at most so many; None to keep all
  generation.sample = False  # draw z from its prior; a model with model.z_dim only
  generation.refine_steps = 0  # of RMSprop on the vertices (paper, Eq. 6)
  generation.precision = "auto"  # as train.precision
  generation.points_per_batch = placeholder(int)  # evaluations at once; None chooses
  generation.format = "ply"  # ply, glb, obj or off

  report = config.report = ml_collections.ConfigDict()
  report.shapes = 12  # shown in 3D
  return config
