{
  # A delegate, for the tools that only know node-gyp (node-gyp-build's fallback, prebuildify): CMakeLists.txt is the
  # build. cmake-js works in a folder of its own, as with make CMake would overwrite gyp's build/Makefile.
  "targets": [
    {
      "target_name": "sightline",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake-js",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(module_root_dir)/build/Release/libtorch-loader.node"],
          "action": ["node", "<(module_root_dir)/scripts/build-native.mjs", "--out", "build/cmake"]
        }
      ]
    }
  ]
}
