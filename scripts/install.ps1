# Installs the `alexnet` command of a release on Windows:
#   irm https://github.com/alexnet-wgpu/alexnet-wgpu/releases/latest/download/install.ps1 | iex
# It downloads one archive, compares its SHA-256 with the one beside it, and puts one program into a folder. To be set before:
#   $env:ALEXNET_VERSION       the release, such as 0.1.0; by default the one that this file belongs to
#   $env:ALEXNET_INSTALL_DIR   the folder; by default %LOCALAPPDATA%\Programs\alexnet, which is put on the user's Path
#   $env:ALEXNET_FROM          the place of the release's files, such as a mirror or a folder; ALEXNET_VERSION must be set then

function Install-Alexnet {
    $ErrorActionPreference = 'Stop'
    # Its bar slows downloads in Windows PowerShell.
    $ProgressPreference = 'SilentlyContinue'
    # The release writes its version here.
    $version = ''

    if ($env:ALEXNET_VERSION) { $version = $env:ALEXNET_VERSION -replace '^v', '' }
    if (-not $version) { throw 'Set $env:ALEXNET_VERSION: this file belongs to no release' }
    $from = "https://github.com/alexnet-wgpu/alexnet-wgpu/releases/download/v$version"
    if ($env:ALEXNET_FROM) { $from = $env:ALEXNET_FROM }
    $own = -not $env:ALEXNET_INSTALL_DIR
    $folder = if ($own) { Join-Path $env:LOCALAPPDATA 'Programs\alexnet' } else { $env:ALEXNET_INSTALL_DIR }

    $name = "alexnet-$version-x86_64-pc-windows-msvc"
    $work = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    New-Item -ItemType Directory $work | Out-Null
    try {
        foreach ($file in "$name.zip", "$name.zip.sha256") {
            if ($from -match '^https?:') { Invoke-WebRequest -UseBasicParsing "$from/$file" -OutFile (Join-Path $work $file) }
            else { Copy-Item (Join-Path $from $file) $work }
        }
        $expected = ((Get-Content (Join-Path $work "$name.zip.sha256")) -split ' ')[0]
        $found = (Get-FileHash -Algorithm SHA256 (Join-Path $work "$name.zip")).Hash.ToLowerInvariant()
        if ($found -ne $expected) { throw "$name.zip is damaged: expected the SHA-256 $expected, found $found" }

        Expand-Archive (Join-Path $work "$name.zip") $work
        New-Item -ItemType Directory -Force $folder | Out-Null
        $program = Join-Path $folder 'alexnet.exe'
        Copy-Item -Force (Join-Path $work "$name\alexnet.exe") $program
    } finally {
        Remove-Item -Recurse -Force $work
    }
    & $program --version | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "The program is at $program, but does not start here" }
    Write-Host "alexnet $version is at $program"

    if ($own) {
        $path = [Environment]::GetEnvironmentVariable('Path', 'User')
        if (($path -split ';') -notcontains $folder) {
            [Environment]::SetEnvironmentVariable('Path', (@($path, $folder) | Where-Object { $_ }) -join ';', 'User')
            Write-Host "$folder is on your Path now: new terminals find alexnet"
        }
    }
}

Install-Alexnet
