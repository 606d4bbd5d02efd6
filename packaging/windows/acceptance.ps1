#Requires -Version 5.1
#Requires -RunAsAdministrator
<#
.SYNOPSIS
    Tries on a real Windows what no test of Intellistor can try elsewhere, and writes a report to send to its maintainers.

.DESCRIPTION
    Run it once, on a server or a PC with Intellistor installed, in a PowerShell that was opened with "Run as administrator":

        powershell -ExecutionPolicy Bypass -File acceptance.ps1

    It makes one new folder on the system drive with files of its own: one that another process holds open, one with an
    access list and an owner of its own, alternate data streams, a junction, links, a path of more than 260 characters, a
    sparse file and so on. It backs them up with a snapshot (VSS) to a store in the same folder, verifies and restores the
    backup, and compares. Then it schedules the same backup for two minutes later, as SYSTEM, and waits for it. At the end
    it removes the schedule and the folder. Nothing else on the machine is read, changed or sent. It takes about four
    minutes, 200 MB, and for some seconds a snapshot of the system drive.

    The report has the table that is shown, the versions of Windows and of the programs, and what failed. It has no
    secret, no name of the machine or of an account: the key is made for this run and deleted with the folder.

    Exit code 0: everything passed. 1: something failed, which the report explains. This file is ASCII on purpose:
    PowerShell 5.1 reads a script without a byte order mark in the code page of the machine.

.PARAMETER Programs
    The folder with backup-client.exe and intellistor-agent.exe; by default where they are installed, then PATH.

.PARAMETER Drive
    The drive on which the folder is made: NTFS, and local.

.PARAMETER Report
    The file for the report; by default intellistor-acceptance.txt in the current folder.

.PARAMETER NoSchedule
    Leave Task Scheduler alone.

.PARAMETER Keep
    Leave the folder where it is, to look at what failed. It contains a key, which opens only the backups in it.
#>
[CmdletBinding()]
param(
    [string] $Programs = '',
    [string] $Drive = $env:SystemDrive,
    [string] $Report = (Join-Path (Get-Location).ProviderPath 'intellistor-acceptance.txt'),
    [switch] $NoSchedule,
    [switch] $Keep
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# --- what is found, line by line -----------------------------------------------------------------------------------------

$script:Rows = New-Object System.Collections.ArrayList
$script:Notes = New-Object System.Collections.ArrayList

# The report is to identify neither the machine nor an account.
function Hide-Names([string] $Text) {
    $Text = $Text -replace 'S-1-5-21-\d+-\d+-\d+', 'S-1-5-21-*'
    foreach ($name in $env:COMPUTERNAME, $env:USERDOMAIN, $env:USERDNSDOMAIN, $env:USERNAME) {
        if ("$name".Length -gt 2) { $Text = $Text -replace [regex]::Escape($name), '*' }
    }
    return $Text
}

function Add-Row([string] $Check, [string] $Result, [string] $Detail) {
    $Detail = Hide-Names $Detail
    [void] $script:Rows.Add((New-Object PSObject -Property @{ Check = $Check; Result = $Result; Detail = $Detail }))
    Write-Host ('{0,-4}  {1}  {2}' -f $Result, $Check, $Detail)
}

# The block returns its detail; what it throws is a failure.
function Test-Part([string] $Check, [scriptblock] $Block) {
    try {
        $detail = & $Block
        Add-Row $Check 'pass' ([string] ($detail | Select-Object -Last 1))
    }
    catch {
        Add-Row $Check 'FAIL' (($_.Exception.Message -replace '\s+', ' ').Trim())
    }
}

function Assert-Same([string] $What, $Expected, $Actual) {
    if ([string] $Expected -cne [string] $Actual) {
        throw "${What}: expected '$Expected', found '$Actual'"
    }
}

# --- Windows, where PowerShell 5.1 does not reach: long paths, sharing, what a file takes on the disk ---------------------

Add-Type -TypeDefinition @'
using System;
using System.ComponentModel;
using System.IO;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

public static class IntellistorAcceptance
{
    [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
    static extern SafeFileHandle CreateFileW(string name, uint access, uint share, IntPtr security, uint disposition, uint flags, IntPtr template);

    [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
    static extern bool CreateDirectoryW(string name, IntPtr security);

    [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
    static extern uint GetCompressedFileSizeW(string name, out uint high);

    static FileStream Open(string path, bool write)
    {
        // GENERIC_READ or GENERIC_WRITE; shared with readers and writers; CREATE_ALWAYS or OPEN_EXISTING.
        SafeFileHandle handle = CreateFileW(@"\\?\" + path, write ? 0x40000000u : 0x80000000u, 3, IntPtr.Zero, write ? 2u : 3u, 0x80, IntPtr.Zero);
        if (handle.IsInvalid)
            throw new Win32Exception(Marshal.GetLastWin32Error());
        return new FileStream(handle, write ? FileAccess.Write : FileAccess.Read);
    }

    public static void MakeFolder(string path)
    {
        if (!CreateDirectoryW(@"\\?\" + path, IntPtr.Zero))
            throw new Win32Exception(Marshal.GetLastWin32Error());
    }

    public static void Write(string path, byte[] bytes)
    {
        using (FileStream file = Open(path, true))
            file.Write(bytes, 0, bytes.Length);
    }

    public static string Hash(string path)
    {
        using (FileStream file = Open(path, false))
        using (SHA256 sha256 = SHA256.Create())
            return BitConverter.ToString(sha256.ComputeHash(file)).Replace("-", "").ToLowerInvariant();
    }

    public static long OnDisk(string path)
    {
        uint high;
        uint low = GetCompressedFileSizeW(@"\\?\" + path, out high);
        int error = Marshal.GetLastWin32Error();
        if (low == 0xFFFFFFFF && error != 0)
            throw new Win32Exception(error);
        return ((long)high << 32) | low;
    }
}
'@

# --- the programs --------------------------------------------------------------------------------------------------------

function Find-Program([string] $Name) {
    $folders = @($Programs, (Join-Path $env:ProgramFiles 'Intellistor')) | Where-Object { $_ -ne '' }
    foreach ($folder in $folders) {
        $file = Join-Path $folder "$Name.exe"
        if (Test-Path -LiteralPath $file) {
            return (Resolve-Path -LiteralPath $file).ProviderPath
        }
    }
    $found = Get-Command "$Name.exe" -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if ($null -eq $found) {
        throw "$Name.exe was not found: install Intellistor, or name its folder with -Programs"
    }
    return $found.Path
}

# Not with `&`: there, PowerShell 5.1 makes errors of what a program writes to standard error.
function Invoke-Program([string] $File, [string[]] $Arguments, [int] $Seconds = 600) {
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $File
    $quoted = foreach ($argument in $Arguments) {
        if ($argument -match '[\s"]' -or $argument -eq '') { '"' + ($argument -replace '"', '\"') + '"' } else { $argument }
    }
    $start.Arguments = $quoted -join ' '
    $start.WorkingDirectory = $script:Root
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = [System.Text.Encoding]::UTF8
    $start.StandardErrorEncoding = [System.Text.Encoding]::UTF8
    # Settings of this console would take precedence over those of the test.
    foreach ($name in @($start.EnvironmentVariables.Keys)) {
        if ($name -match '^(INTELLISTOR_|AWS_|OTEL_|RUST_)') {
            $start.EnvironmentVariables.Remove($name)
        }
    }
    $process = [System.Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    $out = $process.StandardOutput.ReadToEndAsync()
    $err = $process.StandardError.ReadToEndAsync()
    if (-not $process.WaitForExit($Seconds * 1000)) {
        $process.Kill()
        throw "$([System.IO.Path]::GetFileName($File)) $($Arguments[0]) took longer than $Seconds s"
    }
    $process.WaitForExit()
    return New-Object PSObject -Property @{ Code = $process.ExitCode; Out = $out.Result; Err = $err.Result }
}

function Expect-Code([int[]] $Codes, $Result, [string] $Command) {
    if ($Codes -notcontains $Result.Code) {
        [void] $script:Notes.Add("$Command ended with exit code $($Result.Code)`r`n$($Result.Out)`r`n$($Result.Err)")
        $message = $Result.Err
        try { $message = ($Result.Out | ConvertFrom-Json).error } catch { }
        throw "$Command ended with exit code $($Result.Code): $message"
    }
    return $Result.Out
}

function Invoke-Client([string[]] $Arguments, [int[]] $Codes = @(0)) {
    return Expect-Code $Codes (Invoke-Program $script:Client $Arguments) "backup-client $($Arguments[0])"
}

function Invoke-Agent([string[]] $Arguments, [int[]] $Codes = @(0)) {
    return Expect-Code $Codes (Invoke-Program $script:Agent $Arguments) "intellistor-agent $($Arguments[0])"
}

function Invoke-Tool([string] $Name, [string[]] $Arguments) {
    return Expect-Code @(0) (Invoke-Program (Join-Path $env:SystemRoot "System32\$Name.exe") $Arguments) $Name
}

function Write-Text([string] $Path, [string] $Text) {
    [System.IO.File]::WriteAllText($Path, $Text, (New-Object System.Text.UTF8Encoding $false))
}

function New-Noise([int] $Seed, [int] $Length) {
    $bytes = New-Object byte[] $Length
    (New-Object System.Random $Seed).NextBytes($bytes)
    return , $bytes
}

# --- the folder ----------------------------------------------------------------------------------------------------------

$script:Client = Find-Program 'backup-client'
$script:Agent = Find-Program 'intellistor-agent'
$policyId = 'acceptance-' + [guid]::NewGuid().ToString('N').Substring(0, 8)
$script:Root = Join-Path "$($Drive.TrimEnd('\'))\" "Intellistor-$policyId"
$source = Join-Path $Root 'source'
$restored = Join-Path $Root 'restored'
$store = Join-Path $Root 'store'
$policyFile = Join-Path $Root 'policy.yaml'
$keyFile = Join-Path $Root 'test.key'
$envFile = Join-Path $Root 'test.env'
$agentHome = Join-Path $Root 'agent'
$ready = Join-Path $Root 'held'
$release = Join-Path $Root 'release'
$write = Join-Path $Root 'write'
$written = Join-Path $Root 'written'

$portuguese = 'Relat' + [char] 0x00F3 + 'rio de a' + [char] 0x00E7 + [char] 0x00E3 + 'o.txt'
$longFolder = $source
1..6 | ForEach-Object { $longFolder = $longFolder + '\' + ('pasta-comprida-' * 3) + $_ }
$longFile = $longFolder + '\file.bin'
$old = [datetime]::SpecifyKind([datetime] '2021-03-04T05:06:07', 'Utc')

$holder = $null
$scheduled = $false
$began = Get-Date

New-Item -ItemType Directory -Path $Root | Out-Null
try {
    # For SYSTEM, which runs the schedule, and administrators: the key is in there.
    [void] (Invoke-Tool 'icacls' @($Root, '/inheritance:r', '/grant', '*S-1-5-18:(OI)(CI)F', '/grant', '*S-1-5-32-544:(OI)(CI)F'))
    New-Item -ItemType Directory -Path $source | Out-Null

    Test-Part 'make: plain, hidden and read-only files' {
        [System.IO.File]::WriteAllBytes("$source\plain.bin", (New-Noise 1 3500000))
        Write-Text "$source\$portuguese" "ol$([char] 0x00E1)`r`n"
        Write-Text "$source\hidden.txt" 'hidden and read-only'
        foreach ($name in 'plain.bin', 'hidden.txt') {
            [System.IO.File]::SetCreationTimeUtc("$source\$name", $old)
            [System.IO.File]::SetLastWriteTimeUtc("$source\$name", $old.AddDays(1))
        }
        [System.IO.File]::SetAttributes("$source\hidden.txt", 'ReadOnly, Hidden')
    }
    Test-Part 'make: a path of more than 260 characters' {
        $folder = $source
        foreach ($name in $longFolder.Substring($source.Length + 1).Split('\')) {
            $folder = "$folder\$name"
            [IntellistorAcceptance]::MakeFolder($folder)
        }
        [IntellistorAcceptance]::Write($longFile, (New-Noise 2 70000))
        "$($longFile.Length) characters"
    }
    Test-Part 'make: an access list and an owner' {
        New-Item -ItemType Directory -Path "$source\access" | Out-Null
        Write-Text "$source\access\inherits.txt" 'has the access list of its folder'
        Write-Text "$source\access\own.txt" 'has an access list of its own'
        [void] (Invoke-Tool 'icacls' @("$source\access", '/grant', '*S-1-5-32-545:(OI)(CI)RX'))
        [void] (Invoke-Tool 'icacls' @("$source\access\own.txt", '/inheritance:r', '/grant', '*S-1-5-18:F', '/grant', '*S-1-5-32-544:M', '/deny', '*S-1-5-32-546:W'))
        [void] (Invoke-Tool 'icacls' @("$source\access\own.txt", '/setowner', '*S-1-5-19'))
        $sddl = (Get-Acl -LiteralPath "$source\access\own.txt").Sddl
        if ($sddl -notmatch '^O:LS' -or $sddl -notmatch '\(D;') { throw "it is $sddl" }
        $sddl
    }
    Test-Part 'make: alternate data streams' {
        Write-Text "$source\streams.txt" 'the content'
        Set-Content -LiteralPath "$source\streams.txt" -Stream 'note' -Value 'a note beside it'
        Set-Content -LiteralPath "$source\streams.txt" -Stream 'Zone.Identifier' -Value "[ZoneTransfer]`r`nZoneId=3"
        # What is written beside the content must not change these.
        (Get-Item -LiteralPath "$source\streams.txt").LastWriteTimeUtc = [DateTime] '2020-02-03T04:05:06'
        (Get-Item -LiteralPath "$source\streams.txt").IsReadOnly = $true
    }
    Test-Part 'make: a junction, links and a second name' {
        New-Item -ItemType Directory -Path "$source\target" | Out-Null
        Write-Text "$source\target\inside.txt" 'inside'
        New-Item -ItemType Junction -Path "$source\junction" -Target "$source\target" | Out-Null
        [void] (Invoke-Tool 'cmd' @('/d', '/c', 'mklink', "$source\link.txt", 'plain.bin'))
        [void] (Invoke-Tool 'cmd' @('/d', '/c', 'mklink', '/d', "$source\link-folder", 'target'))
        [void] (Invoke-Tool 'cmd' @('/d', '/c', 'mklink', '/h', "$source\second-name.txt", "$source\target\inside.txt"))
    }
    Test-Part 'make: a sparse file' {
        Write-Text "$source\sparse.bin" 'begin'
        [void] (Invoke-Tool 'fsutil' @('sparse', 'setflag', "$source\sparse.bin"))
        $file = [System.IO.File]::Open("$source\sparse.bin", 'Open', 'ReadWrite', 'None')
        try {
            $file.SetLength(67108864)
            [void] $file.Seek(-3, 'End')
            $file.Write([byte[]] (101, 110, 100), 0, 3)
        }
        finally { $file.Dispose() }
        "64 MiB, $([IntellistorAcceptance]::OnDisk("$source\sparse.bin")) bytes on the disk"
    }
    Test-Part 'make: a file that another process does not share' {
        [System.IO.File]::WriteAllBytes("$source\open.dat", (New-Noise 3 1000000))
        $script:openHash = [IntellistorAcceptance]::Hash("$source\open.dat")
        $code = @"
`$file = [System.IO.File]::Open('$source\open.dat', 'Open', 'ReadWrite', 'None')
[System.IO.File]::WriteAllText('$ready', '')
`$new = New-Object byte[] 4096
for (`$i = 0; `$i -lt 1800 -and -not (Test-Path -LiteralPath '$release'); `$i++) {
    if ((Test-Path -LiteralPath '$write') -and -not (Test-Path -LiteralPath '$written')) {
        `$file.Position = 0
        `$file.Write(`$new, 0, `$new.Length)
        `$file.Flush()
        [System.IO.File]::WriteAllText('$written', '')
    }
    Start-Sleep -Seconds 1
}
`$file.Dispose()
"@
        $encoded = [Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes($code))
        $shell = Join-Path $env:SystemRoot 'System32\WindowsPowerShell\v1.0\powershell.exe'
        $script:holder = Start-Process $shell "-NoProfile -NonInteractive -EncodedCommand $encoded" -WindowStyle Hidden -PassThru
        for ($i = 0; $i -lt 600 -and -not (Test-Path -LiteralPath $ready); $i++) { Start-Sleep -Milliseconds 100 }
        $shared = $true
        try { [void] [IntellistorAcceptance]::Hash("$source\open.dat") } catch { $shared = $false }
        if ($shared) { throw 'the file can be read although another process holds it' }
    }

    # --- backed up, verified, restored -----------------------------------------------------------------------------------

    Write-Text $policyFile @"
policy_id: $policyId
paths: ['$source']
store: 'file:///$($store.Replace('\', '/'))'
vss: required
streams: true
"@
    # The schedule runs with another account and without the variables of this console.
    Write-Text $envFile "INTELLISTOR_KEY_FILE='$keyFile'`r`nINTELLISTOR_HOME='$agentHome'`r`n"

    $script:result = $null
    Test-Part 'key-create' {
        [void] (Invoke-Client @('key-create', '--out', $keyFile))
    }
    Test-Part 'doctor' {
        [void] (Invoke-Client @('--env-file', $envFile, 'doctor', '--policy', $policyFile))
    }
    Test-Part 'backup, with a snapshot of the volume' {
        $script:result = (Invoke-Client @('--env-file', $envFile, 'backup', '--policy', $policyFile)) | ConvertFrom-Json
        [void] $script:Notes.Add("backup:`r`n$($script:result | ConvertTo-Json -Depth 6)")
        Assert-Same 'skipped' 0 $script:result.skipped
        Assert-Same 'snapshots used' 'True' (@($script:result.snapshots | Where-Object { -not $_.used }).Count -eq 0 -and @($script:result.snapshots).Count -gt 0)
        "$($script:result.files) files, $($script:result.seconds) s"
    }
    Test-Part 'no snapshot is left behind' {
        $left = @(Get-CimInstance Win32_ShadowCopy | Where-Object { $_.InstallDate -ge $began -and -not $_.Persistent })
        Assert-Same 'snapshots of this run' 0 $left.Count
    }
    Test-Part 'verify' {
        [void] (Invoke-Client @('--env-file', $envFile, 'verify', '--policy', $policyFile, '--latest'))
    }
    Test-Part 'restore' {
        [void] (Invoke-Client @('--env-file', $envFile, 'restore', '--policy', $policyFile, '--latest', '--out', $restored))
    }
    Test-Part 'restore again, over what is there' {
        [void] (Invoke-Client @('--env-file', $envFile, 'restore', '--policy', $policyFile, '--latest', '--out', $restored))
    }
    Test-Part 'restore without access lists' {
        [void] (Invoke-Client @('--env-file', $envFile, 'restore', '--policy', $policyFile, '--latest', '--out', "$Root\without", '--no-acl'))
        $sddl = (Get-Acl -LiteralPath "$Root\without\access\own.txt").Sddl
        if ($sddl -match '\(D;') { throw "the file has $sddl" }
    }

    # --- compared --------------------------------------------------------------------------------------------------------

    Test-Part 'the file that was held open' {
        Assert-Same 'SHA-256' $script:openHash ([IntellistorAcceptance]::Hash("$restored\open.dat"))
    }
    Test-Part 'content' {
        foreach ($name in 'plain.bin', 'hidden.txt', 'access\own.txt', 'access\inherits.txt', 'streams.txt', 'target\inside.txt', 'second-name.txt', 'sparse.bin', $portuguese) {
            Assert-Same $name ([IntellistorAcceptance]::Hash("$source\$name")) ([IntellistorAcceptance]::Hash("$restored\$name"))
        }
        '9 files'
    }
    Test-Part 'a path of more than 260 characters' {
        Assert-Same 'SHA-256' ([IntellistorAcceptance]::Hash($longFile)) ([IntellistorAcceptance]::Hash($restored + $longFile.Substring($source.Length)))
    }
    Test-Part 'attributes and times' {
        foreach ($name in 'plain.bin', 'hidden.txt', 'streams.txt', 'target', 'access', $portuguese) {
            $expected = Get-Item -LiteralPath "$source\$name" -Force
            $actual = Get-Item -LiteralPath "$restored\$name" -Force
            $kept = [System.IO.FileAttributes] 'ReadOnly, Hidden, System, Archive'
            Assert-Same "$name, attributes" ($expected.Attributes -band $kept) ($actual.Attributes -band $kept)
            Assert-Same "$name, modified" $expected.LastWriteTimeUtc.Ticks $actual.LastWriteTimeUtc.Ticks
            Assert-Same "$name, created" $expected.CreationTimeUtc.Ticks $actual.CreationTimeUtc.Ticks
        }
    }
    foreach ($name in 'access', 'access\own.txt', 'access\inherits.txt', 'plain.bin') {
        Test-Part "access list and owner: $name" {
            $expected = (Get-Acl -LiteralPath "$source\$name").Sddl
            Assert-Same 'SDDL' $expected (Get-Acl -LiteralPath "$restored\$name").Sddl
        }
    }
    Test-Part 'alternate data streams' {
        $names = { param($file) (Get-Item -LiteralPath $file -Stream * | ForEach-Object { $_.Stream } | Sort-Object) -join ' ' }
        Assert-Same 'streams' (& $names "$source\streams.txt") (& $names "$restored\streams.txt")
        foreach ($stream in 'note', 'Zone.Identifier') {
            Assert-Same $stream (Get-Content -LiteralPath "$source\streams.txt" -Stream $stream -Raw) (Get-Content -LiteralPath "$restored\streams.txt" -Stream $stream -Raw)
        }
        & $names "$restored\streams.txt"
    }
    foreach ($name in 'junction', 'link.txt', 'link-folder') {
        Test-Part "link: $name" {
            $expected = Get-Item -LiteralPath "$source\$name" -Force
            $actual = Get-Item -LiteralPath "$restored\$name" -Force
            Assert-Same 'kind' $expected.LinkType $actual.LinkType
            Assert-Same 'target' (@($expected.Target) -join ' ') (@($actual.Target) -join ' ')
            "$($actual.LinkType)"
        }
    }
    Test-Part 'two names of one file' {
        $names = Invoke-Tool 'fsutil' @('hardlink', 'list', "$restored\second-name.txt")
        Assert-Same 'names' 2 @($names -split "`r`n" | Where-Object { $_.Trim() -ne '' }).Count
    }
    Test-Part 'the sparse file is sparse' {
        $onDisk = [IntellistorAcceptance]::OnDisk("$restored\sparse.bin")
        if ($onDisk -gt 8388608) { throw "it takes $onDisk bytes" }
        "$onDisk bytes on the disk"
    }

    # As a database does: Windows need not change its time before it is closed.
    Test-Part 'what was written to a file that stays open is in the next backup' {
        Write-Text $write ''
        for ($i = 0; $i -lt 300 -and -not (Test-Path -LiteralPath $written); $i++) { Start-Sleep -Milliseconds 100 }
        $bytes = New-Noise 3 1000000
        [array]::Clear($bytes, 0, 4096)
        [System.IO.File]::WriteAllBytes("$Root\expected", $bytes)
        $second = (Invoke-Client @('--env-file', $envFile, 'backup', '--policy', $policyFile)) | ConvertFrom-Json
        [void] (Invoke-Client @('--env-file', $envFile, 'restore', '--policy', $policyFile, '--latest', '--out', "$Root\second", '--only', 'open.dat'))
        Assert-Same 'SHA-256' ([IntellistorAcceptance]::Hash("$Root\expected")) ([IntellistorAcceptance]::Hash("$Root\second\open.dat"))
        "$($second.changes.changed) changed, $($second.changes.unchanged) unchanged"
    }

    # --- scheduled -------------------------------------------------------------------------------------------------------

    if (-not $NoSchedule) {
        $task = "IntellistorAgent - $policyId"
        Test-Part 'apply-schedule, as SYSTEM' {
            $script:at = (Get-Date).AddMinutes(2)
            $cron = "$($script:at.Minute) $($script:at.Hour) * * *"
            $script:scheduled = $true
            [void] (Invoke-Agent @('apply-schedule', '--policy-id', $policyId, '--cron', $cron, '--policy-path', $policyFile, '--env-file', $envFile))
            "at $($script:at.ToString('HH:mm'))"
        }
        Test-Part 'the task starts by itself, and makes a backup with a snapshot' {
            $last = $null
            for ($i = 0; $i -lt 120; $i++) {
                Start-Sleep -Seconds 5
                $status = (Invoke-Agent @('--env-file', $envFile, 'status', '--json')) | ConvertFrom-Json
                $row = @($status.policies | Where-Object { $_.policy -eq $policyId }) | Select-Object -First 1
                if ($null -ne $row -and $null -ne $row.last_run -and $row.activity -eq 'idle' -and $null -ne $row.last_run.ended) {
                    $last = $row.last_run
                    break
                }
            }
            if ($null -eq $last) { throw 'it has not run within 10 minutes' }
            [void] $script:Notes.Add("status after the scheduled run:`r`n$($row | ConvertTo-Json -Depth 6)")
            Assert-Same 'result' 'completed' $last.result
            "$($last.seconds) s"
        }
        Test-Part 'Task Scheduler has the exit code' {
            # 0x41301: the wrapper is about to end.
            for ($i = 0; $i -lt 30; $i++) {
                $info = Get-ScheduledTaskInfo -TaskName $task
                if ($info.LastTaskResult -ne 0x41301) { break }
                Start-Sleep -Seconds 1
            }
            Assert-Same 'last result' 0 $info.LastTaskResult
        }
        Test-Part 'test-schedule' {
            [void] (Invoke-Agent @('--env-file', $envFile, 'test-schedule', '--policy-id', $policyId, '--timeout', '300'))
        }
        Test-Part 'remove-schedule' {
            [void] (Invoke-Agent @('--env-file', $envFile, 'remove-schedule', '--policy-id', $policyId))
            $script:scheduled = $false
            $left = @(Get-ScheduledTask -TaskName "$task*" -ErrorAction SilentlyContinue)
            Assert-Same 'tasks' 0 $left.Count
        }
    }

    # What says more about VSS, where it failed.
    if ($null -eq $script:result) {
        foreach ($list in 'providers', 'writers', 'shadowstorage') {
            $listed = Invoke-Program (Join-Path $env:SystemRoot 'System32\vssadmin.exe') @('list', $list)
            [void] $script:Notes.Add("vssadmin list ${list}:`r`n$($listed.Out)$($listed.Err)")
        }
    }
}
catch {
    Add-Row 'this script' 'FAIL' "line $($_.InvocationInfo.ScriptLineNumber): $($_.Exception.Message)"
}
finally {
    # --- as it was before ------------------------------------------------------------------------------------------------

    if ($script:scheduled) {
        try { [void] (Invoke-Agent @('--env-file', $envFile, 'remove-schedule', '--policy-id', $policyId)) }
        catch { Add-Row 'clean up: the schedule' 'FAIL' $_.Exception.Message }
    }
    if ($null -ne $script:holder) {
        New-Item -ItemType File -Path $release -Force | Out-Null
        [void] $script:holder.WaitForExit(30000)
    }
    if ($Keep) {
        Write-Host "kept: $Root"
    }
    else {
        try {
            # `rd` takes long paths, and does not enter junctions.
            [void] (Invoke-Program (Join-Path $env:SystemRoot 'System32\attrib.exe') @('-r', '-h', "$Root\*", '/s', '/d', '/l'))
            $script:Gone = $Root
            $script:Root = $env:SystemRoot
            [void] (Invoke-Program (Join-Path $env:SystemRoot 'System32\cmd.exe') @('/d', '/c', 'rd', '/s', '/q', "\\?\$Gone"))
            if (Test-Path -LiteralPath $Gone) { throw "$Gone is left: remove it" }
        }
        catch { Add-Row 'clean up: the folder' 'FAIL' $_.Exception.Message }
    }
}

# --- the report ----------------------------------------------------------------------------------------------------------

$failed = @($Rows | Where-Object { $_.Result -eq 'FAIL' }).Count
$windows = Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
$system = Get-CimInstance Win32_OperatingSystem
$volume = Get-CimInstance Win32_LogicalDisk -Filter "DeviceID='$($Drive.TrimEnd('\'))'"
$revision = if ($windows.PSObject.Properties['UBR']) { $windows.UBR } else { '?' }
$head = @(
    "Intellistor on Windows: $($Rows.Count - $failed) passed, $failed failed"
    "Windows:     $($system.Caption) $($system.Version).$revision, language $($system.OSLanguage), $($system.OSArchitecture)"
    "File system: $($volume.FileSystem)"
    "PowerShell:  $($PSVersionTable.PSVersion)"
    "Programs:    $((Invoke-Program $Client @('--version')).Out.Trim()), $((Invoke-Program $Agent @('--version')).Out.Trim())"
    "Took:        $([int] ((Get-Date) - $began).TotalSeconds) s"
)
$table = ($Rows | Format-Table -Wrap -AutoSize -Property @('Result', 'Check', 'Detail') | Out-String -Width 160).Trim()
$more = if ($Notes.Count -gt 0) { @('', 'Details', '-------') + $Notes } else { @() }
Write-Text $Report (Hide-Names (($head + @('', $table) + $more) -join "`r`n"))

Write-Host ''
$head | ForEach-Object { Write-Host $_ }
Write-Host "The report: $Report. Look through it, then send it to the maintainers."
exit ([int] ($failed -gt 0))
