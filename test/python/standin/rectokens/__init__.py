"""Objects with the attributes of RecTokens' tokenizers, to be pickled."""


class Codebook:
    def __init__(self, embeddings):
        self.embeddings = embeddings


class Level:
    def __init__(self, embeddings, counts):
        self._codebook, self._counts = Codebook(embeddings), counts


class Quantizer:
    def __init__(self, levels):
        self._levels = levels


class RQKMeansTokenizer:
    def __init__(self, levels):
        self._rq = Quantizer(levels)
