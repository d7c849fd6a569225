from lmcodistill import errors as errors
from lmcodistill.inference.loading import load as load
from lmcodistill.inference.predictor import Predictor as Predictor
from lmcodistill.inference.scores import SplitScore as SplitScore
from lmcodistill.inference.scores import TextScore as TextScore
from lmcodistill.inference.scores import TokenScore as TokenScore
from lmcodistill.storage.run_metrics import read_metrics as read_metrics

__version__: str
