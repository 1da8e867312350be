"""drn: an online-learning news ranker after DRN (Zheng et al., WWW 2018). The core: no web, no SQL, no scheduler, no clock."""
