"""What the card of a trained model says of its method; `MASPOTrainer` hands it to TRL."""

import textwrap

CARD_NAME = "MASPO"

CARD_TAGS = ["trl", "grpo", "maspo"]

CARD_PAPER = {
    "title": "MASPO: Unifying Gradient Utilization, Probability Mass, and Signal Reliability for Robust "
    "and Sample-Efficient LLM Reasoning",
    "id": "2602.17550",
    "citation": textwrap.dedent("""\
        @inproceedings{fu2026maspo,
            title     = {{MASPO}: Unifying Gradient Utilization, Probability Mass, and Signal Reliability for Robust and Sample-Efficient {LLM} Reasoning},
            author    = {Fu, Xiaoliang and Lin, Jiaye and Fang, Yangyi and Zheng, Binbin and Hu, Chaowen and Shao, Zekai and Qin, Cong and Pan, Lu and Zeng, Ke and Cai, Xunliang},
            booktitle = {Proceedings of the 64th Annual Meeting of the Association for Computational Linguistics},
            year      = 2026,
            eprint    = {arXiv:2602.17550},
        }"""),
}
