"""The steps that middlewares become: one file each, found through ``registry``."""
