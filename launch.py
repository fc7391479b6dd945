"""python launch.py --config=FILE.py[:variant] [--config.KEY=VALUE ...] [--workdir=DIR] [--mode=MODE]; -h tells more.

What it does stands in hexjax/command.py; an installed hexjax has it as the command `hexjax`.
"""

import sys

from hexjax import command

if __name__ == "__main__":
    sys.exit(command.start())
