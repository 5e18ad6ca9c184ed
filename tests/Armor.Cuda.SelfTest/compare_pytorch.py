"""PyTorch dense and semi-structured (2:4) linears: graph replays over copies of the weight beyond the second-level cache, medians of rounds."""
import sys

import torch
from torch.sparse import to_sparse_semi_structured

quick, device = sys.argv[1] == "quick", torch.device(f"cuda:{sys.argv[2]}")
torch.cuda.set_device(device)
shapes = [(4096, 4096), (11008, 4096), (13824, 5120), (8192, 28672)]
batches = [1, 4, 16, 2048]
copied = 512 << 20


def pruned(rows, columns):
    weight = torch.randn(rows, columns, dtype=torch.bfloat16, device=device)
    mask = torch.zeros(rows, columns // 4, 4, dtype=torch.bool, device=device)
    mask.scatter_(2, torch.rand(rows, columns // 4, 4, device=device).topk(2, dim=2).indices, True)
    return weight * mask.view(rows, columns)


def microseconds(multiply, weights):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            for weight in weights:
                multiply(weight)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for weight in weights:
            multiply(weight)
    times = []
    for _ in range(5 if quick else 11):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        graph.replay()
        start.record()
        for _ in range(20):
            graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1000 / (20 * len(weights)))
    return sorted(times)[len(times) // 2]


def attempt(multiply, weights):
    try:
        return microseconds(multiply, weights)
    except Exception as error:  # the shape or the batch is not supported: said in the table
        return f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"


print(f"## PyTorch {torch.__version__}, the same card\n")
print("| weight | batch | dense, µs | semi-structured, µs | ratio |\n| --- | --- | --- | --- | --- |")
for rows, columns in shapes[:1] if quick else shapes:
    copies = max(1, min(32, copied // (rows * columns * 2)))
    dense = [pruned(rows, columns) for _ in range(copies)]
    try:
        sparse = [to_sparse_semi_structured(weight) for weight in dense]
    except Exception as error:
        sparse, reason = None, f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    for batch in batches:
        x = torch.randn(batch, columns, dtype=torch.bfloat16, device=device)
        multiply = lambda weight: torch.nn.functional.linear(x, weight)
        with torch.no_grad():
            first = attempt(multiply, dense)
            second = attempt(multiply, sparse) if sparse else reason
        ratio = f"{first / second:.2f}×" if isinstance(first, float) and isinstance(second, float) else ""
        show = lambda value: f"{value:.2f}" if isinstance(value, float) else value
        print(f"| {rows}×{columns} | {batch} | {show(first)} | {show(second)} | {ratio} |", flush=True)
