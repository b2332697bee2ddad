/**
 * The PowerShell script that prints a line for each input; `hook-lines.ts` has the format. It ends with the process of
 * `ATP_AGENT_PID`, so that it does not outlive the agent.
 *
 * `KBDLLHOOKSTRUCT`: vkCode, scanCode, flags (bit 0 extended, bit 7 up), time, dwExtraInfo. `MSLLHOOKSTRUCT`: x, y,
 * mouseData (high word: wheel delta or X button), flags, time, dwExtraInfo. Positions are pixels of the whole desktop.
 */
export const HOOK_PROGRAM = String.raw`
$ErrorActionPreference = 'Stop'
Add-Type -ReferencedAssemblies System.Windows.Forms, System.Drawing -TypeDefinition @'
using System;
using System.Diagnostics;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using System.Windows.Forms;

public static class AtpHooks
{
    delegate IntPtr Hook(int code, IntPtr message, IntPtr data);
    [DllImport("user32.dll", SetLastError = true)] static extern IntPtr SetWindowsHookEx(int id, Hook hook, IntPtr module, uint thread);
    [DllImport("user32.dll")] static extern IntPtr CallNextHookEx(IntPtr hook, int code, IntPtr message, IntPtr data);
    [DllImport("user32.dll")] static extern bool SetProcessDPIAware();
    [DllImport("kernel32.dll", CharSet = CharSet.Unicode)] static extern IntPtr GetModuleHandle(string name);
    [DllImport("kernel32.dll")] static extern void GetSystemTimePreciseAsFileTime(out long time);

    static readonly Hook keyboard = OnKey, mouse = OnMouse;
    static StreamWriter output;

    static string Now()
    {
        long time;
        GetSystemTimePreciseAsFileTime(out time);
        // 100 ns since 1601; the epoch is 11644473600 s later.
        return ((time - 116444736000000000L) * 100L).ToString();
    }

    static void Say(string text) { output.Write(text + " " + Now() + "\n"); output.Flush(); }

    static IntPtr OnKey(int code, IntPtr message, IntPtr data)
    {
        if (code >= 0)
        {
            int scan = Marshal.ReadInt32(data, 4), flags = Marshal.ReadInt32(data, 8);
            if ((flags & 1) != 0) scan |= 0xe000;
            Say("key " + scan.ToString("x") + ((flags & 0x80) != 0 ? " 0" : " 1"));
        }
        return CallNextHookEx(IntPtr.Zero, code, message, data);
    }

    static IntPtr OnMouse(int code, IntPtr message, IntPtr data)
    {
        if (code >= 0)
        {
            int high = Marshal.ReadInt32(data, 8) >> 16;
            string extra = high == 2 ? "x2" : "x1";
            switch ((int)message)
            {
                case 0x200:
                    var all = SystemInformation.VirtualScreen;
                    Say("move " + (Marshal.ReadInt32(data, 0) - all.Left) + " " + (Marshal.ReadInt32(data, 4) - all.Top) + " " + all.Width + " " + all.Height);
                    break;
                case 0x201: Say("button left 1"); break;
                case 0x202: Say("button left 0"); break;
                case 0x204: Say("button right 1"); break;
                case 0x205: Say("button right 0"); break;
                case 0x207: Say("button middle 1"); break;
                case 0x208: Say("button middle 0"); break;
                case 0x20B: Say("button " + extra + " 1"); break;
                case 0x20C: Say("button " + extra + " 0"); break;
                case 0x20A: Say("wheel " + high); break;
                case 0x20E: Say("hwheel " + high); break;
            }
        }
        return CallNextHookEx(IntPtr.Zero, code, message, data);
    }

    public static void Run()
    {
        SetProcessDPIAware();
        output = new StreamWriter(Console.OpenStandardOutput());
        IntPtr module = GetModuleHandle(null);
        if (SetWindowsHookEx(13, keyboard, module, 0) == IntPtr.Zero || SetWindowsHookEx(14, mouse, module, 0) == IntPtr.Zero)
            throw new Exception("SetWindowsHookEx failed: " + Marshal.GetLastWin32Error());
        var agent = Process.GetProcessById(int.Parse(Environment.GetEnvironmentVariable("ATP_AGENT_PID")));
        var parent = new Thread(() => { agent.WaitForExit(); Environment.Exit(0); });
        parent.IsBackground = true;
        parent.Start();
        output.Write("ready\n");
        output.Flush();
        Application.Run();
    }
}
'@
[AtpHooks]::Run()
`
