"""The table of the AAAI-2026 tutorial on evaluating unlearning (TARF's experiments), as facts.

One line per model: data set, relation, method, UA, RA, TA, MIA, printed Gap; percent. The Gap of
six lines does not follow from the other numbers of the line; they are listed in `INCONSISTENT`.
Rounding of the printed cells alone may explain up to 0.015, so one of the six (SCRUB on CIFAR-10,
off by 0.0125) is no proof of an error; the other five are.
"""

TABLE = """
cifar10 all-matched Retrained 0.00 99.51 94.69 100.00 -
cifar100 all-matched Retrained 0.00 97.85 76.03 100.00 -
cifar10 all-matched FT 1.07 98.62 92.36 100.00 1.07
cifar100 all-matched FT 0.67 96.32 72.34 100.00 1.47
cifar10 all-matched RL 4.13 97.65 91.23 100.00 2.36
cifar100 all-matched RL 1.00 96.09 72.00 100.00 1.70
cifar10 all-matched GA 0.49 95.24 88.17 99.78 2.88
cifar100 all-matched GA 1.33 94.74 68.56 99.89 3.01
cifar10 all-matched IU 0.22 88.15 82.38 99.96 5.99
cifar100 all-matched IU 0.00 37.61 29.58 100.00 26.67
cifar10 all-matched BS 25.04 87.94 80.90 88.67 15.43
cifar100 all-matched BS 4.60 90.18 63.66 99.55 6.27
cifar10 all-matched L1-sparse 0.00 94.20 89.77 100.00 2.56
cifar100 all-matched L1-sparse 0.00 94.60 71.57 100.00 1.93
cifar10 all-matched SalUn 0.00 91.32 86.87 100.00 4.00
cifar100 all-matched SalUn 0.00 75.34 62.14 100.00 9.10
cifar10 all-matched SCRUB 0.00 99.94 91.00 100.00 1.03
cifar100 all-matched SCRUB 0.00 99.98 76.75 100.00 0.71
cifar10 all-matched TARF 0.00 98.23 91.95 100.00 1.01
cifar100 all-matched TARF 0.00 96.90 72.53 100.00 1.11
cifar10 model-mismatch Retrained 87.76 99.58 95.91 20.57 -
cifar100 model-mismatch Retrained 88.22 98.58 78.50 25.78 -
cifar10 model-mismatch FT 94.67 98.53 93.56 9.56 5.33
cifar100 model-mismatch FT 92.67 95.02 79.34 16.33 4.58
cifar10 model-mismatch RL 53.69 97.85 92.39 96.60 28.84
cifar100 model-mismatch RL 80.11 95.83 79.83 99.00 21.35
cifar10 model-mismatch GA 5.76 86.99 82.20 94.98 45.68
cifar100 model-mismatch GA 6.78 94.83 76.96 97.78 39.68
cifar10 model-mismatch IU 23.69 87.34 82.57 89.87 39.74
cifar100 model-mismatch IU 34.67 96.83 79.08 86.44 29.14
cifar10 model-mismatch BS 10.29 50.77 49.39 95.96 62.05
cifar100 model-mismatch BS 18.11 95.90 72.28 95.22 37.14
cifar10 model-mismatch L1-sparse 93.11 94.76 91.63 14.44 5.15
cifar100 model-mismatch L1-sparse 90.22 94.78 78.81 18.88 3.25
cifar10 model-mismatch SalUn 8.91 93.95 84.38 99.32 43.69
cifar100 model-mismatch SalUn 66.33 78.83 70.78 77.00 25.15
cifar10 model-mismatch SCRUB 95.14 99.81 94.22 15.38 3.61
cifar100 model-mismatch SCRUB 91.44 99.74 79.23 21.11 2.45
cifar10 model-mismatch TARF 91.11 97.49 92.49 17.82 2.90
cifar100 model-mismatch TARF 86.67 97.05 80.07 26.00 1.21
cifar10 target-mismatch Retrained 0.00 99.38 93.85 100.00 -
cifar100 target-mismatch Retrained 0.00 97.85 73.72 100.00 -
cifar10 target-mismatch FT 50.43 98.47 91.65 50.44 25.78
cifar100 target-mismatch FT 58.18 96.32 72.53 46.76 28.54
cifar10 target-mismatch RL 51.25 97.56 90.90 56.23 24.95
cifar100 target-mismatch RL 58.89 96.05 72.20 46.98 28.81
cifar10 target-mismatch GA 40.82 97.01 89.51 64.32 20.80
cifar100 target-mismatch GA 21.38 96.64 70.22 90.67 8.86
cifar10 target-mismatch IU 44.51 88.07 81.80 58.73 27.29
cifar100 target-mismatch IU 30.62 37.19 29.58 63.69 42.93
cifar10 target-mismatch BS 53.62 88.65 75.39 76.33 26.62
cifar100 target-mismatch BS 40.44 98.32 68.66 85.16 15.20
cifar10 target-mismatch L1-sparse 49.47 93.61 88.83 51.24 27.26
cifar100 target-mismatch L1-sparse 56.09 94.63 72.00 48.04 28.25
cifar10 target-mismatch SalUn 46.63 91.08 86.31 60.94 25.38
cifar100 target-mismatch SalUn 59.64 75.52 62.37 65.96 27.35
cifar10 target-mismatch SCRUB 49.98 99.94 92.10 50.18 25.53
cifar100 target-mismatch SCRUB 59.64 99.99 75.32 44.89 29.90
cifar10 target-mismatch TARF 0.06 97.57 90.81 100.00 1.23
cifar100 target-mismatch TARF 0.31 97.35 73.68 100.00 0.21
cifar10 data-mismatch Retrained 0.00 99.54 95.56 100.00 -
cifar100 data-mismatch Retrained 0.00 98.50 80.15 100.00 -
cifar10 data-mismatch FT 96.79 98.49 93.26 6.48 48.41
cifar100 data-mismatch FT 82.62 95.66 79.77 37.24 37.15
cifar10 data-mismatch RL 76.47 97.68 91.93 49.81 33.04
cifar100 data-mismatch RL 89.78 96.82 79.90 70.76 30.49
cifar10 data-mismatch GA 8.69 96.41 90.78 93.03 5.89
cifar100 data-mismatch GA 6.00 97.65 79.23 98.04 2.43
cifar10 data-mismatch IU 22.84 95.50 89.54 88.57 11.08
cifar100 data-mismatch IU 31.51 98.96 78.20 88.09 11.46
cifar10 data-mismatch BS 16.70 61.21 49.76 92.24 22.37
cifar100 data-mismatch BS 15.38 98.50 72.28 96.22 6.76
cifar10 data-mismatch L1-sparse 95.76 94.31 91.08 9.52 48.99
cifar100 data-mismatch L1-sparse 88.31 94.91 79.02 22.49 42.64
cifar10 data-mismatch SalUn 51.77 93.87 90.46 63.52 24.75
cifar100 data-mismatch SalUn 72.93 78.87 71.04 54.13 36.89
cifar10 data-mismatch SCRUB 97.13 99.89 95.03 10.99 46.76
cifar100 data-mismatch SCRUB 95.50 99.79 79.68 15.11 45.54
cifar10 data-mismatch TARF 0.00 98.17 93.09 100.00 0.96
cifar100 data-mismatch TARF 0.00 95.01 78.98 100.00 1.17
"""

INCONSISTENT = {
    # (data set, relation, method): (printed, computed from the line)
    ("cifar100", "model-mismatch", "BS"): (37.14, 37.11),
    ("cifar10", "model-mismatch", "SCRUB"): (3.61, 3.62),
    ("cifar100", "target-mismatch", "SalUn"): (27.35, 31.84),
    ("cifar100", "target-mismatch", "SCRUB"): (29.9, 29.62),
    ("cifar100", "data-mismatch", "RL"): (30.49, 30.24),
    ("cifar10", "data-mismatch", "BS"): (22.37, 27.15),
}
