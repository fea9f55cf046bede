"""The inspection of a package as tables."""

from rich.table import Table

from sparsezoo_hub.cli.console import console, human_bytes
from sparsezoo_hub.packaging.inspection import GroupInfo, PackageInspection


def show_inspection(inspection: PackageInspection) -> None:
    """Print a package's facts, its groups of weights, and every pruned weight."""
    target = "no target" if inspection.target is None else f"target {inspection.target}"
    sparsity = f"{inspection.sparsity:.6f} over the pruned weights, {target}"
    if inspection.mask_digest is None:
        sparsity = "none: the model is dense"
    sizes = ", ".join(f"{human_bytes(size)} {name}" for name, size in inspection.sizes.items())
    for name, value in (
        ("package", f"{inspection.name}: {inspection.summary}"),
        ("recipe", f"{inspection.recipe}, backbone {inspection.backbone}, packaged {inspection.created}"),
        ("sparsity", sparsity),
        ("files", sizes),
        ("masks", inspection.mask_digest or "none"),
    ):
        console.print(f"[bold]{name:<9}[/] ", end="")
        console.print(value, markup=False, soft_wrap=True)
    console.print(_groups(inspection.groups))
    for group in inspection.groups:
        if group.name == "pruned":
            console.print(_tensors(group))


def _groups(groups: tuple[GroupInfo, ...]) -> Table:
    table = Table(title="Kinds of weights", title_justify="left")
    for column in ("kind", "tensors", "weights", "zeros", "sparsity"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for group in groups:
        table.add_row(
            group.name,
            str(len(group.tensors)),
            f"{group.numel:,}",
            f"{group.zeros:,}",
            f"{group.sparsity:.4f}",
        )
    return table


def _tensors(group: GroupInfo) -> Table:
    table = Table(title="Pruned weights", title_justify="left")
    table.add_column("weight", overflow="fold")
    for column in ("shape", "zeros", "sparsity"):
        table.add_column(column, justify="right", no_wrap=True)
    for tensor in group.tensors:
        shape = " x ".join(map(str, tensor.shape))
        table.add_row(tensor.name, shape, f"{tensor.zeros:,}", f"{tensor.sparsity:.6f}")
    return table
