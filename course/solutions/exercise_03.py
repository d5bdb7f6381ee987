"""Exercises of unit 3 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 3 · Contrastive learning from scratch
#
# You write the supervised contrastive loss in four steps and then watch it move points. No data is
# needed: everything runs on a fresh copy of the project.

# %% setup
import matplotlib.pyplot as plt
import torch

from fer_lib.training.losses import supcon_loss
from fer_tools.course.grader import checker

check = checker(3)

# %% [markdown]
# ## 3.1 How similar are two embeddings? (easy)
#
# The similarity of two vectors is the cosine of the angle between them. Compute it for all pairs
# of rows: normalize each row to length 1, then one matrix product is enough. (`keepdim=True` keeps
# the lengths as a column, so that each row can be divided by its own.)


# %% answer: cosine_similarities
def cosine_similarities(vectors: torch.Tensor) -> torch.Tensor:
    """Cosine of the angle between all pairs of vectors.

    Args:
        vectors: (N, D) float, of any length except zero.

    Returns:
        (N, N) float in [-1, 1].
    """
    # BEGIN SOLUTION
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    return unit @ unit.T
    # END SOLUTION


# %%
check(cosine_similarities)

# %% [markdown]
# ## 3.2 Positive pairs (easy)
#
# Two embeddings are a positive pair if they have the same label. No embedding is a positive of
# itself.


# %% answer: positive_mask
def positive_mask(labels: torch.Tensor) -> torch.Tensor:
    """Mark the positive pairs.

    Args:
        labels: (N,) integer class of each embedding.

    Returns:
        (N, N) bool; row i marks the positives of anchor i.
    """
    # BEGIN SOLUTION
    same_class = labels[:, None] == labels[None, :]
    return same_class & ~torch.eye(len(labels), dtype=torch.bool)
    # END SOLUTION


# %%
check(positive_mask)

# %% [markdown]
# ## 3.3 The loss of one anchor (medium)
#
# Take anchor $i$ with its row of similarities $s_{ij}$. With $P(i)$ its positives and $A(i)$ all
# embeddings except $i$ itself,
#
# $$\ell_i = \frac{-1}{|P(i)|} \sum_{p \in P(i)}
# \left( \frac{s_{ip}}{\tau} - \log \sum_{a \in A(i)} e^{s_{ia} / \tau} \right).$$
#
# Take care with small temperatures: $e^{1 / 0.005}$ is too large for a 32-bit float, but
# `torch.logsumexp` handles it.


# %% answer: anchor_loss
def anchor_loss(
    similarities: torch.Tensor, positives: torch.Tensor, anchor: int, temperature: float
) -> torch.Tensor:
    """The supervised contrastive loss of one anchor.

    Args:
        similarities: (N, N) float, cosine of all pairs.
        positives: (N, N) bool, True where a pair is positive.
        anchor: row of the anchor, 0 to N - 1; it has at least one positive.
        temperature: tau, above 0.

    Returns:
        Scalar float.
    """
    # BEGIN SOLUTION
    logits = similarities[anchor] / temperature
    others = torch.arange(len(logits)) != anchor
    log_probability = logits - logits[others].logsumexp(dim=0)
    return -log_probability[positives[anchor]].mean()
    # END SOLUTION


# %%
check(anchor_loss)

# %% [markdown]
# ## 3.4 The whole loss (medium)
#
# The loss of a batch is the mean over all anchors *that have a positive*. An anchor that is alone
# in its class has no term of its own, but stays in the sums of the others. You may use your
# functions from above or write the loss again with matrices. Training needs the gradient of the
# loss, so keep everything in tensors.


# %% answer: supervised_contrastive_loss
def supervised_contrastive_loss(
    embeddings: torch.Tensor, labels: torch.Tensor, temperature: float = 0.1
) -> torch.Tensor:
    """Supervised contrastive loss of a batch (Khosla et al. 2020, eq. 2, as a mean over anchors).

    Args:
        embeddings: (N, D) float, each of length 1.
        labels: (N,) integer class of each; at least two embeddings share a class.
        temperature: tau, above 0.

    Returns:
        Scalar float, through which a gradient can flow.
    """
    # BEGIN SOLUTION
    similarities = embeddings @ embeddings.T
    same_class = labels[:, None] == labels[None, :]
    positives = same_class & ~torch.eye(len(labels), dtype=torch.bool)
    anchors = [i for i in range(len(labels)) if positives[i].any()]
    losses = []
    for anchor in anchors:
        logits = similarities[anchor] / temperature
        others = torch.arange(len(logits)) != anchor
        log_probability = logits - logits[others].logsumexp(dim=0)
        losses.append(-log_probability[positives[anchor]].mean())
    return torch.stack(losses).mean()
    # END SOLUTION


# %%
check(supervised_contrastive_loss)

# %% [markdown]
# ## 3.5 Let the loss move points (hard)
#
# There is no network yet: you optimize the embeddings themselves. Start from points on the unit
# circle and do gradient descent on the study's `supcon_loss`, which takes an input of shape
# $(B, V, D)$: here one view of each point, so `points[:, None]`. After each step normalize the
# points to length 1 again. The update itself must not be differentiated: put it inside
# `with torch.no_grad():`, or use `torch.optim.SGD`.
#
# Three classes on a circle should end up as three clusters, 120° apart. Why can they not get
# further from one another?


# %% answer: descend
def descend(
    points: torch.Tensor, labels: torch.Tensor, steps: int = 300, rate: float = 1.0
) -> torch.Tensor:
    """Minimize the supervised contrastive loss (temperature 0.5) by moving points.

    Args:
        points: (N, 2) float, each of length 1; not changed.
        labels: (N,) integer class of each.
        steps: number of steps of gradient descent.
        rate: learning rate.

    Returns:
        (N, 2) float, each of length 1, without gradient.
    """
    # BEGIN SOLUTION
    points = points.clone().requires_grad_(True)
    for _ in range(steps):
        loss = supcon_loss(points[:, None], labels, temperature=0.5)
        (gradient,) = torch.autograd.grad(loss, points)
        with torch.no_grad():
            points -= rate * gradient
            points /= points.norm(dim=1, keepdim=True)
    return points.detach()
    # END SOLUTION


# %%
check(descend)

# %% [markdown]
# Look at what your function does:

# %%
torch.manual_seed(2)
labels = torch.arange(30) % 3
before = torch.nn.functional.normalize(torch.randn(30, 2), dim=1)
figure, axes = plt.subplots(1, 2, figsize=(6, 3), subplot_kw={"aspect": "equal"})
for axis, points in zip(axes, (before, descend(before, labels)), strict=True):
    axis.scatter(*points.T, c=labels)
    loss = supcon_loss(points[:, None], labels, temperature=0.5)
    axis.set(title=f"loss {loss:.2f}", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))

# %% [markdown] open
# ## 3.6 What does the temperature do? (medium, open)
#
# In the gradient of $\ell_i$, a negative $n$ has the weight $e^{s_{in}/\tau} / \sum_a
# e^{s_{ia}/\tau}$. An anchor has two negatives, at similarity 0.9 and 0.5. How many times larger
# is the weight of the nearer one at $\tau = 1$, at $0.1$, and at $0.01$? FER2013 has images with a
# wrong label. What happens to them at a very small temperature?
