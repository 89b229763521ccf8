"""PPO settings of the tasks for Isaac Lab's own commands (``isaaclab train``, ``isaaclab play``).

They fine-tune the shipped controller with rsl_rl's runner; ``scripts/train_controller.py`` is the full recipe, from
imitation on.
"""

from __future__ import annotations

from isaaclab.utils import configclass
from isaaclab_rl.rsl_rl import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg, RslRlPpoAlgorithmCfg

from argos_sim.configs import PPOConfig
from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION
from argos_sim.paths import PRETRAINED

PPO = PPOConfig()


@configclass
class ControllerModelCfg(RslRlMLPModelCfg):
    """The attention controller as actor; its sizes come with its weights."""

    class_name: str = "argos_sim.controller.actor:ControllerModel"
    controller: str = str(PRETRAINED / "controller")
    """Folder of the controller to start from."""
    hidden_dims: list[int] = []
    activation: str = "elu"
    distribution_cfg: RslRlMLPModelCfg.GaussianDistributionCfg = RslRlMLPModelCfg.GaussianDistributionCfg(
        init_std=PPO.init_std, std_type="log"
    )


@configclass
class BlocksPPOCfg(RslRlOnPolicyRunnerCfg):
    """The recipe's numbers, as far as rsl_rl's own runner has them."""

    num_steps_per_env = PPO.steps
    # The runner has no warm-up that would count among its iterations, and a checkpoint of its does not end episodes.
    max_iterations = 100
    save_interval = 25
    clip_actions = 1.0
    obs_groups = {"actor": [PROPRIO, VISION, TARGET_VISION], "critic": ["critic"]}
    actor = ControllerModelCfg()
    critic = RslRlMLPModelCfg(hidden_dims=list(PPO.critic_hidden), activation="elu", obs_normalization=True)
    algorithm = RslRlPpoAlgorithmCfg(
        value_loss_coef=1.0,
        use_clipped_value_loss=False,
        clip_param=PPO.clip,
        entropy_coef=PPO.entropy,
        num_learning_epochs=PPO.epochs,
        num_mini_batches=PPO.minibatches,
        # One rate for actor and critic, adapted from where the recipe's actor begins, for the same reason.
        learning_rate=PPO.learning_rate,
        schedule="adaptive",
        gamma=PPO.gamma,
        lam=PPO.gae_lambda,
        desired_kl=PPO.desired_kl,
        max_grad_norm=1.0,
    )
