"""The commands of `spark-export`, a module each; none is imported before it is asked for."""
