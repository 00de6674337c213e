#!/usr/bin/env bash
# Prints the Homebrew formula of a release, from the checksums of its archives.
#   scripts/formula.sh VERSION FOLDER > alexnet.rb
set -euo pipefail
version=$1 folder=$2

# sum TARGET
sum() { cut -d ' ' -f 1 "$folder/alexnet-$version-$1.tar.gz.sha256"; }

mac=$(sum universal-apple-darwin)
intel=$(sum x86_64-unknown-linux-gnu)
arm=$(sum aarch64-unknown-linux-gnu)
cat <<EOF
class Alexnet < Formula
  desc "Classify and compare pictures, train and find look-alikes on any GPU"
  homepage "https://github.com/alexnet-wgpu/alexnet-wgpu"
  version "$version"
  license all_of: [{ any_of: ["MIT", "Apache-2.0"] }, "BSD-3-Clause", "BSD-2-Clause"]

  on_macos do
    url "https://github.com/alexnet-wgpu/alexnet-wgpu/releases/download/v$version/alexnet-$version-universal-apple-darwin.tar.gz"
    sha256 "$mac"
  end

  on_linux do
    depends_on "vulkan-loader"
    on_intel do
      url "https://github.com/alexnet-wgpu/alexnet-wgpu/releases/download/v$version/alexnet-$version-x86_64-unknown-linux-gnu.tar.gz"
      sha256 "$intel"
    end
    on_arm do
      url "https://github.com/alexnet-wgpu/alexnet-wgpu/releases/download/v$version/alexnet-$version-aarch64-unknown-linux-gnu.tar.gz"
      sha256 "$arm"
    end
  end

  def install
    bin.install "alexnet"
    generate_completions_from_executable(bin/"alexnet", "completions")
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/alexnet --version")
  end
end
EOF
