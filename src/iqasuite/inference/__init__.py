"""How an image becomes a score: predictors of one image or of a pair, streams of files, tables; `iqasuite score`."""
