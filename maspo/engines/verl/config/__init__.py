"""Groups of Hydra that a command of verl can name: `hydra.searchpath=[pkg://maspo.engines.verl.config]`."""
