"""Image data sets from scikit-learn or from files on this machine; nothing is downloaded."""
