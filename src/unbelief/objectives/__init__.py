"""Unlearning objectives: pure functions of named arrays, found by name."""

from unbelief.objectives.alternatives import AlternativeTerm
from unbelief.objectives.base import ForgetTerm, Objective, RetainTerm, Term
from unbelief.objectives.forget.bss import BSS
from unbelief.objectives.forget.bst import BST
from unbelief.objectives.forget.bstw import BSTW
from unbelief.objectives.forget.ceu import CEU
from unbelief.objectives.forget.dpo import DPO
from unbelief.objectives.forget.flat import FLAT
from unbelief.objectives.forget.ga import GA
from unbelief.objectives.forget.npo import NPO
from unbelief.objectives.forget.npow import NPOW
from unbelief.objectives.forget.pdu import PDU
from unbelief.objectives.forget.po import PO
from unbelief.objectives.forget.rmu import RMU
from unbelief.objectives.forget.satimp import SatImp
from unbelief.objectives.forget.simnpo import SimNPO
from unbelief.objectives.forget.tnpo import TNPO
from unbelief.objectives.forget.transplant import Transplant
from unbelief.objectives.forget.undial import UNDIAL
from unbelief.objectives.forget.wga import WGA
from unbelief.objectives.forget.wtnpo import WTNPO
from unbelief.objectives.gradients import GradientRule, Rectified
from unbelief.objectives.methods import Method, build_objective, methods, terms
from unbelief.objectives.retain.hidden_match import HiddenMatch
from unbelief.objectives.retain.kl import KL
from unbelief.objectives.retain.nll import NLL
from unbelief.objectives.weights import PrimalDual, Schedule, WeightRule

__all__ = [
    "BSS",
    "BST",
    "BSTW",
    "CEU",
    "DPO",
    "FLAT",
    "GA",
    "KL",
    "NLL",
    "NPO",
    "NPOW",
    "PDU",
    "PO",
    "RMU",
    "TNPO",
    "UNDIAL",
    "WGA",
    "WTNPO",
    "AlternativeTerm",
    "ForgetTerm",
    "GradientRule",
    "HiddenMatch",
    "Method",
    "Objective",
    "PrimalDual",
    "Rectified",
    "RetainTerm",
    "SatImp",
    "Schedule",
    "SimNPO",
    "Term",
    "Transplant",
    "WeightRule",
    "build_objective",
    "methods",
    "terms",
]
