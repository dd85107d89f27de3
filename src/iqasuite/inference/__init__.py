"""Pictures scored in numbers: from file names to judgements, to tables and maps; what `iqasuite score` is made of."""
