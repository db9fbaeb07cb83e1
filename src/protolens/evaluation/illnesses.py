"""What can be wrong with a prototype, as pure functions: each says of every prototype how far it is from healthy.

For N images, P prototypes of D numbers and K classes. A function knows no threshold but those that stand here.
"""

import torch
from torch import Tensor

COINCIDE = 0.01  # of the usual distance of two prototypes: a hundred times nearer is a difference that nobody sees
# correlation from which on two similarities differ by less than a twentieth of how one varies, sqrt(2 - 2 x 0.999);
# at 0.99, a seventh, prototypes of ProtoVAE are accused that share their class's images evenly
ALIKE = 0.999
ISOLATED = 0.999  # share of images nearer to their neighbour; of 500 prototypes like images one in two runs is accused
PURE = 0.8  # a prototype is called mixed when less than this share of its images is of one class
FEWEST = 10  # images that have to differ before a correlation over them is believed
SURE = 0.99  # of being no chance, where a share or a mean of images is judged: many prototypes are
ERRORS = 2.326  # standard errors that a mean has to be below 0 for it


def relative_distances(vectors: Tensor) -> Tensor:
    """Distance of every two prototypes by the usual one, [P, D] -> [P, P]; infinite to itself, 0 where two coincide.

    As `duplicates` of the claims of seeds/002, but by the median of all pairs: one prototype that has left the data
    makes the mean so large that healthy ones would seem to coincide.
    """
    apart = torch.cdist(vectors.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist")
    if len(vectors) > 1:
        rows, columns = torch.triu_indices(len(vectors), len(vectors), 1)
        apart /= apart[rows, columns].median().clamp_min(1e-300)
    return apart.fill_diagonal_(torch.inf)


def shared_variation(similarity: Tensor, own: Tensor, class_of: Tensor) -> Tensor:
    """How much two prototypes of a class say the same, [P, P]: the correlation of their similarities over images.

    The smaller of that over all images and that over images that show the class, for over all images any two
    prototypes of a class agree that its images are alike. 0 for prototypes of two classes, itself, one that never
    varies, and a class of few images. similarity: [N, P]; own: [N, P] of bool, whether an image shows
    the class of a prototype; class_of: [P].
    """
    found = torch.zeros(len(class_of), len(class_of), dtype=torch.float64)
    everywhere = correlation(similarity)
    for k in class_of.unique().tolist():
        members = (class_of == k).nonzero().flatten()
        inside = own[:, members[0]]
        if len(members) > 1 and inside.any():
            within = correlation(similarity[inside][:, members])
            found[members[:, None], members] = torch.minimum(within, everywhere[members[:, None], members])
    return found.fill_diagonal_(0)


def correlation(columns: Tensor) -> Tensor:
    """Pearson's correlation of every two columns, [N, P] -> [P, P] in float64.

    0 with one that differs from its middle value in fewer than FEWEST rows: two that do so in one and the same row
    would seem alike.
    """
    values = columns.double()
    varies = (values != values.median(dim=0).values).sum(dim=0) >= FEWEST
    centred = (values - values.mean(dim=0)) * varies
    unit = centred / centred.norm(dim=0).clamp_min(1e-300)
    return unit.T @ unit


def edge_of_data(usual: Tensor) -> float:
    """The distance within which ISOLATED of the images have another one, rounded up to that of an image.

    usual: [Q], of codes to the nearest code of another image.
    """
    return float(usual.double().quantile(ISOLATED, interpolation="higher"))


def shares_of_own(wins: Tensor, own: Tensor) -> Tensor:
    """Share of what a prototype wins that shows its class, [P]; not a number for one that wins nothing.

    wins: [N, P], how much of each image it wins; own: [N, P] of bool.
    """
    return (wins * own).sum(dim=0) / wins.sum(dim=0)


def strongest_stranger(wins: Tensor, shown: Tensor, class_of: Tensor) -> tuple[Tensor, Tensor]:
    """The other class that most of what a prototype wins shows, and its share: [P] each.

    wins: [N, P]; shown: [N, K] zeros and ones; class_of: [P].
    """
    table = wins.T @ shown.double() / wins.sum(dim=0).clamp_min(1e-300)[:, None]
    share, other = table.scatter(1, class_of[:, None], -1.0).max(dim=1)
    return other, share


def own_and_other_weight(weights: Tensor, class_of: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A prototype's weight to its class, its largest to another class, and which that is: [P] each. weights: [P, K]."""
    mine = weights.gather(1, class_of[:, None]).squeeze(1)
    largest, other = weights.scatter(1, class_of[:, None], -torch.inf).max(dim=1)
    return mine, largest, other


def speaks_for_own(similarity: Tensor, own: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """How much more a prototype adds to its class on images of it than on the others, and the standard error: [P] each.

    Not a number where no image, or every one, shows the class. similarity: [N, P]; own: [N, P] of bool; weight: [P],
    to its own class.
    """
    adds, inside = similarity.double() * weight.double(), own.double()
    means, errors = [], []
    for member in (inside, 1 - inside):
        count = member.sum(dim=0)
        mean = (adds * member).sum(dim=0) / count
        variance = ((adds - mean).square() * member).sum(dim=0) / (count - 1).clamp_min(1)
        means.append(mean)
        errors.append(variance / count)
    return means[0] - means[1], (errors[0] + errors[1]).sqrt()
