using System.Runtime.InteropServices;
using System.Text;

namespace Armor.Cuda.Interop;

/// <summary>NVRTC.</summary>
internal sealed unsafe class RuntimeCompiler : IKernelCompiler
{
    private readonly delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int> _createProgram;
    private readonly delegate* unmanaged<nint, int, byte**, int> _compileProgram;
    private readonly delegate* unmanaged<nint*, int> _destroyProgram;
    private readonly delegate* unmanaged<nint, nuint*, int> _logSize;
    private readonly delegate* unmanaged<nint, byte*, int> _log;
    private readonly delegate* unmanaged<nint, nuint*, int> _cubinSize;
    private readonly delegate* unmanaged<nint, byte*, int> _cubin;
    private readonly delegate* unmanaged<nint, nuint*, int> _ptxSize;
    private readonly delegate* unmanaged<nint, byte*, int> _ptx;
    private readonly delegate* unmanaged<int, byte*> _errorString;
    private readonly int[] _architectures;

    /// <param name="library">The loaded library.</param>
    /// <exception cref="EntryPointNotFoundException">A function is missing: older than 11.2.</exception>
    /// <exception cref="CudaException">A call failed.</exception>
    public RuntimeCompiler(nint library)
    {
        _createProgram = (delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int>)Export("nvrtcCreateProgram");
        _compileProgram = (delegate* unmanaged<nint, int, byte**, int>)Export("nvrtcCompileProgram");
        _destroyProgram = (delegate* unmanaged<nint*, int>)Export("nvrtcDestroyProgram");
        _logSize = (delegate* unmanaged<nint, nuint*, int>)Export("nvrtcGetProgramLogSize");
        _log = (delegate* unmanaged<nint, byte*, int>)Export("nvrtcGetProgramLog");
        _cubinSize = (delegate* unmanaged<nint, nuint*, int>)Export("nvrtcGetCUBINSize");
        _cubin = (delegate* unmanaged<nint, byte*, int>)Export("nvrtcGetCUBIN");
        _ptxSize = (delegate* unmanaged<nint, nuint*, int>)Export("nvrtcGetPTXSize");
        _ptx = (delegate* unmanaged<nint, byte*, int>)Export("nvrtcGetPTX");
        _errorString = (delegate* unmanaged<int, byte*>)Export("nvrtcGetErrorString");

        int major, minor, count;
        Check("nvrtcVersion", ((delegate* unmanaged<int*, int*, int>)Export("nvrtcVersion"))(&major, &minor));
        Version = new Version(major, minor);
        Check("nvrtcGetNumSupportedArchs", ((delegate* unmanaged<int*, int>)Export("nvrtcGetNumSupportedArchs"))(&count));
        _architectures = new int[count];
        fixed (int* p = _architectures)
        {
            Check("nvrtcGetSupportedArchs", ((delegate* unmanaged<int*, int>)Export("nvrtcGetSupportedArchs"))(p));
        }

        nint Export(string name) => NativeLibrary.GetExport(library, name);
    }

    public Version Version { get; }

    public string Name => $"NVRTC {Version}";

    /// <summary>Machine code where the compiler knows the card, else PTX for the newest that it knows, which the driver compiles.</summary>
    public byte[] Compile(string source, int capability)
    {
        var isKnown = _architectures.Contains(capability);
        var target = isKnown ? capability : _architectures.Where(architecture => architecture < capability).DefaultIfEmpty().Max();
        if (target == 0)
        {
            throw new CudaException($"{Name} compiles for {string.Join(", ", _architectures)}, none of which a card of compute capability {capability / 10}.{capability % 10} runs.");
        }

        nint program;
        fixed (byte* text = Encoding.UTF8.GetBytes(source + '\0'), name = "armor.cu\0"u8)
        {
            Check("nvrtcCreateProgram", _createProgram(&program, text, name, 0, null, null));
        }

        try
        {
            fixed (byte* standard = "--std=c++17\0"u8, architecture = Encoding.ASCII.GetBytes($"--gpu-architecture={(isKnown ? "sm" : "compute")}_{target}\0"))
            {
                var options = stackalloc byte*[] { standard, architecture };
                var status = _compileProgram(program, 2, options);
                if (status != 0)
                {
                    throw new CudaException("nvrtcCompileProgram", status, $"{Message(status)}\n{Log(program)}", $"for {target}");
                }
            }

            return isKnown ? Read(program, "CUBIN", _cubinSize, _cubin) : Read(program, "PTX", _ptxSize, _ptx);
        }
        finally
        {
            _ = _destroyProgram(&program);
        }
    }

    private byte[] Read(nint program, string what, delegate* unmanaged<nint, nuint*, int> size, delegate* unmanaged<nint, byte*, int> get)
    {
        nuint bytes;
        Check($"nvrtcGet{what}Size", size(program, &bytes));
        var result = new byte[checked((int)bytes)];
        fixed (byte* p = result)
        {
            Check($"nvrtcGet{what}", get(program, p));
        }

        return result;
    }

    private string Log(nint program)
    {
        nuint bytes;
        if (_logSize(program, &bytes) != 0 || bytes == 0)
        {
            return "";
        }

        var log = new byte[checked((int)bytes)];
        fixed (byte* p = log)
        {
            return _log(program, p) == 0 ? Encoding.UTF8.GetString(log).TrimEnd('\0', '\n') : "";
        }
    }

    private void Check(string call, int status)
    {
        if (status != 0)
        {
            throw new CudaException(call, status, Message(status));
        }
    }

    private string Message(int status) => Marshal.PtrToStringUTF8((nint)_errorString(status)) ?? "unknown";
}
