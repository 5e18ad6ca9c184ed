using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <content>Two tiles by one input with 16 registers, which the sums of both and the codes of one fill: the tiles take turns, a section each.</content>
internal readonly unsafe partial struct FloatKernels<TVector, TVectors, TValues, TForm>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByTwoTilesInTurns(byte* weights, byte* others, byte* packed, byte* otherPacked, int steps, float* sums)
    {
        var input = (float*)packed;
        var otherInput = (float*)otherPacked;
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (; steps > 0; steps -= SectionSteps)
        {
            if (typeof(TForm) == typeof(PairForm))
            {
                (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + sizeof(TVector)), *(TVector*)(weights + (2 * sizeof(TVector))), *(TVector*)(weights + (3 * sizeof(TVector))));
                weights += 4 * sizeof(TVector);
            }

            var end = input + (Math.Min(SectionSteps, steps) * U);
            do
            {
                var x = LoadInput(input);
                Add(weights, 0, 0, x, ref c0, ref a0);
                Add(weights, 1, 0, x, ref c1, ref a1);
                Add(weights, 2, 0, x, ref c2, ref a2);
                Add(weights, 3, 0, x, ref c3, ref a3);
                if (typeof(TValues) != typeof(Float32Values))
                {
                    x = LoadInput(input + U);
                    Add(weights, 0, 1, x, ref c0, ref a0);
                    Add(weights, 1, 1, x, ref c1, ref a1);
                    Add(weights, 2, 1, x, ref c2, ref a2);
                    Add(weights, 3, 1, x, ref c3, ref a3);
                }

                weights += 4 * sizeof(TVector);
                input += TValues.PerLane * U;
            }
            while (input < end);

            if (typeof(TForm) == typeof(PairForm))
            {
                (c0, c1, c2, c3) = (*(TVector*)others, *(TVector*)(others + sizeof(TVector)), *(TVector*)(others + (2 * sizeof(TVector))), *(TVector*)(others + (3 * sizeof(TVector))));
                others += 4 * sizeof(TVector);
            }

            end = otherInput + (Math.Min(SectionSteps, steps) * U);
            do
            {
                var x = LoadInput(otherInput);
                Add(others, 0, 0, x, ref c0, ref b0);
                Add(others, 1, 0, x, ref c1, ref b1);
                Add(others, 2, 0, x, ref c2, ref b2);
                Add(others, 3, 0, x, ref c3, ref b3);
                if (typeof(TValues) != typeof(Float32Values))
                {
                    x = LoadInput(otherInput + U);
                    Add(others, 0, 1, x, ref c0, ref b0);
                    Add(others, 1, 1, x, ref c1, ref b1);
                    Add(others, 2, 1, x, ref c2, ref b2);
                    Add(others, 3, 1, x, ref c3, ref b3);
                }

                others += 4 * sizeof(TVector);
                otherInput += TValues.PerLane * U;
            }
            while (otherInput < end);
        }

        *(TVector*)sums = a0;
        *(TVector*)(sums + TVectors.Width) = a1;
        *(TVector*)(sums + (2 * TVectors.Width)) = a2;
        *(TVector*)(sums + (3 * TVectors.Width)) = a3;
        *(TVector*)(sums + (4 * TVectors.Width)) = b0;
        *(TVector*)(sums + (5 * TVectors.Width)) = b1;
        *(TVector*)(sums + (6 * TVectors.Width)) = b2;
        *(TVector*)(sums + (7 * TVectors.Width)) = b3;
    }
}
