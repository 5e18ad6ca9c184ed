using System;
using System.IO;
using System.Text;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

/// <summary>Marks one needed symbol version of a 64-bit ELF library as weak, unless a system library already offers that version.</summary>
public class WeakenSymbolVersion : Task
{
    private const uint VersionNeedSection = 0x6ffffffe;
    private const int WeakFlag = 2;

    [Required]
    public string Library { get; set; }

    [Required]
    public string SymbolVersion { get; set; }

    [Required]
    public ITaskItem[] SystemLibraries { get; set; }

    public override bool Execute()
    {
        if (!File.Exists(Library) || SystemOffersVersion())
        {
            return true;
        }

        byte[] image = File.ReadAllBytes(Library);
        if (!Weaken(image))
        {
            return true;
        }

        // The file may be a hard link into the package cache: replace it, never write through it. Its time stays, so that the next
        // incremental build does not copy it again.
        DateTime time = File.GetLastWriteTimeUtc(Library);
        string temporary = Library + "." + Guid.NewGuid().ToString("N");
        File.WriteAllBytes(temporary, image);
        File.SetLastWriteTimeUtc(temporary, time);
        File.Delete(Library);
        File.Move(temporary, Library);
        Log.LogMessage(MessageImportance.High, "{0}: {1} made optional for this system's older libstdc++.", Path.GetFileName(Library), SymbolVersion);
        return true;
    }

    private bool SystemOffersVersion()
    {
        foreach (ITaskItem item in SystemLibraries)
        {
            if (File.Exists(item.ItemSpec) && Encoding.ASCII.GetString(File.ReadAllBytes(item.ItemSpec)).Contains(SymbolVersion + "\0"))
            {
                return true;
            }
        }

        return false;
    }

    // ELF64: the section of type SHT_GNU_verneed is a list of needed files, each with a list of needed versions (Elf64_Vernaux).
    private bool Weaken(byte[] image)
    {
        bool changed = false;
        long sections = BitConverter.ToInt64(image, 0x28);
        int size = BitConverter.ToUInt16(image, 0x3a);
        int count = BitConverter.ToUInt16(image, 0x3c);
        for (int section = 0; section < count; section++)
        {
            long header = sections + ((long)section * size);
            if (BitConverter.ToUInt32(image, (int)header + 4) != VersionNeedSection)
            {
                continue;
            }

            long strings = BitConverter.ToInt64(image, (int)(sections + ((long)BitConverter.ToUInt32(image, (int)header + 40) * size) + 24));
            long need = BitConverter.ToInt64(image, (int)header + 24);
            while (true)
            {
                int versions = BitConverter.ToUInt16(image, (int)need + 2);
                long version = need + BitConverter.ToUInt32(image, (int)need + 8);
                for (int i = 0; i < versions; i++)
                {
                    int name = (int)(strings + BitConverter.ToUInt32(image, (int)version + 8));
                    int end = Array.IndexOf(image, (byte)0, name);
                    int flags = BitConverter.ToUInt16(image, (int)version + 4);
                    if (Encoding.ASCII.GetString(image, name, end - name) == SymbolVersion && (flags & WeakFlag) == 0)
                    {
                        image[version + 4] |= WeakFlag;
                        changed = true;
                    }

                    version += BitConverter.ToUInt32(image, (int)version + 12);
                }

                uint next = BitConverter.ToUInt32(image, (int)need + 12);
                if (next == 0)
                {
                    break;
                }

                need += next;
            }
        }

        return changed;
    }
}
